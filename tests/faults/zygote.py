"""Imports the library once, then runs code in a new process for each order on stdin: as real as a fresh interpreter for what is tested here, and far quicker.

An order is a line of JSON: {"code", "words", "env", "out", "err", "most"} starts a process and is answered by its number;
{"wait": number} is answered by its exit status, below 0 for a signal.
"""
import json, os, resource, sys, traceback

os.environ['OMP_NUM_THREADS'] = '1'
import digitlab.data, sklearn.datasets, torch  # noqa: what the code will import

def child(job):
    os.setsid()
    for number, name in ((1, job['out']), (2, job['err'])): os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(job['env'])
    sys.argv = ['-c', *job['words']]
    if job['most']: resource.setrlimit(resource.RLIMIT_FSIZE, (job['most'],)*2)
    try: exec(compile(job['code'], 'code', 'exec'), {'__name__': '__main__'})
    except BaseException:
        traceback.print_exc()
        return 1
    finally: sys.stdout.flush(), sys.stderr.flush()
    return 0

print('ready', flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if 'wait' in job: print(os.waitstatus_to_exitcode(os.waitpid(job['wait'], 0)[1]), flush=True)
    else:
        pid = os.fork()
        if pid == 0: os._exit(child(job))
        print(pid, flush=True)
