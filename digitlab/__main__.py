"`python -m digitlab` is the command `digitlab`."
from digitlab.run import main

main(prog_name='digitlab')
