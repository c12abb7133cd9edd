"""What lies beside a log's files, or only looks like one, is told or refused."""

import gzip

import pytest

pytest.importorskip("pyarrow")

from made_tables import COLUMNS, log_of, rows_of, told, write_csv, write_parquet
from moore.errors import InputError
from moore.formats.load import read_log


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    write_csv(tmp_path / "logs" / "a.csv", rows_of(5))
    return tmp_path / "logs"


def test_hidden_files_are_none_of_a_log_s(folder):
    (folder / "._a.csv").write_bytes(b"\0\5\x16\7")
    assert log_of("logs").size == log_of("logs/a.csv").size and "not read" not in told(
        log_of("logs")
    )


def test_what_is_passed_over_is_named(folder):
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"x,y,u,r\n", mtime=0))
    (folder / "more").mkdir()
    (folder / "columns.toml").write_text('obs = "x"\naction = "u"\nreward = "r"')
    assert "not read in this folder: b.csv.gz, more/" in told(read_log("logs"))


def test_a_link_that_leads_nowhere_is_refused(folder):
    (folder / "b.csv").symlink_to("moved.csv")
    with pytest.raises(InputError, match=r"the link logs/b\.csv leads nowhere"):
        log_of("logs")


def test_a_damaged_file_of_several_is_named(folder):
    (folder / "a.csv").unlink()
    write_parquet(folder / "b.parquet", rows_of(5))
    (folder / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"logs/a\.parquet: cannot be read as Parquet"):
        log_of("logs")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"x,y\n1,2\n", mtime=0), "a gzip archive"),
        (b"PK\3\4 sheets", "a zip archive, or a workbook"),
        (b"PAR1\x15\4rows", "a Parquet file"),
        ("x,y,u,r\n".encode("utf-16-le"), "zero bytes, as UTF-16 without a mark"),
    ],
)
def test_a_csv_that_is_no_text_says_what_it_is(folder, content, kind):
    (folder / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=kind):
        log_of("logs/a.csv")


@pytest.mark.parametrize("name", ["log.csv.gz", "log.xlsx", "log.pkl"])
def test_a_map_does_not_hide_that_a_kind_is_unknown(name):
    with pytest.raises(InputError, match="unknown kind of data set"):
        read_log(name, columns=COLUMNS)


def test_a_column_may_be_named_like_a_format(folder):
    columns = rows_of(5)
    write_csv(folder / "a.csv", {"PAR1": columns.pop("x")} | columns)
    assert log_of("logs/a.csv", obs=["PAR1", "y"]).size == 5
