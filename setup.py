"Gives setuptools the requirements and extras of settings.ini; all else is in pyproject.toml."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist

config = ConfigParser(delimiters=['='])
config.read(Path(__file__).with_name('settings.ini'), encoding='utf-8')
settings = config['DEFAULT']


class SourceDist(sdist):
    "Packs settings.ini too, without which nothing can be built"
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, [*files, 'settings.ini'])


setup(
    cmdclass={'sdist': SourceDist},
    install_requires=settings['requirements'].split(),
    extras_require={extra: settings[f'{extra}_requirements'].split()
                    for extra in ('dev', 'docs', 'browser')},
)
