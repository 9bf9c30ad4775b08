"""Write docs/reproduction.md from the JSON in results/reproduction.

python -m benchmarks.reproduction
"""

from benchmarks import report
from benchmarks.paper.document import document

FOLDER = report.RESULTS / "reproduction"
PATH = report.RESULTS.parents[1] / "docs" / "reproduction.md"


def main():
    PATH.write_text(document(FOLDER))
    print(PATH)


if __name__ == "__main__":
    main()
