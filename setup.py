"Gives setuptools the requirements, extras and console scripts of settings.ini."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

config = ConfigParser(delimiters=['='])
config.read_string((Path(__file__).parent / 'settings.ini').read_text(encoding='utf-8'))
settings = config['DEFAULT']

setup(
    install_requires=settings['requirements'].split(),
    extras_require={key.removesuffix('_requirements'): settings[key].split() for key in settings if key.endswith('_requirements')},
    entry_points={'console_scripts': settings['console_scripts'].split(), 'nbdev': ['digitlab=digitlab._modidx:d']},
)
