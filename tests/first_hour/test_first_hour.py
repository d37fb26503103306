"""The first hour with one's own pictures, as a stranger spends it, and what that stranger is told.

A folder as people have them – several formats, a broken file, the same name twice, letters of all
kinds, a table from a spreadsheet with gaps – goes from `lookalike init` to answered searches. The
tests go on from one another, in order: one server for all of them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
import skimage
from PIL import Image
from tests.support import commands
from tests.support.ports import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DATA = Path(skimage.__file__).parent / "data"
TABLE = """\
Datei;Titel;Preis;Aufgenommen;Stück
Kätzchen.jpg;Ein Kätzchen;12,50;01.05.2024;3
2023/cat.jpg;Katze;7,00;31.01.2023;1
2024/cat.jpg;Kaffee;30,00;29.02.2024;2
rocket.jpg;Rakete;;28.02.2024;
sky.jpg;Himmel;99,90;24.12.2022;12
broken.jpg;Kaputt;2,00;30.06.2021;1
gone.jpg;Nicht mehr da;1,00;01.01.2020;1
"""


@dataclass(frozen=True)
class Desk:
    """Where the stranger sits: the folder `Meine Bilder` is in it."""

    folder: Path
    port: int

    @property
    def pictures(self) -> Path:
        return self.folder / "Meine Bilder"

    def lookalike(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LOOKALIKE_")}
        return subprocess.run(
            commands.lookalike(*arguments),
            cwd=self.folder,
            env={**kept, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def found(self, *arguments: str) -> list[dict[str, Any]]:
        ran = self.lookalike("search", *arguments, "--output", "json")
        assert ran.returncode == 0, ran.stderr
        return list(json.loads(ran.stdout)["results"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("desk"), free_port())
    _fill(desk.pictures)
    yield desk
    desk.lookalike("down")


def _fill(folder: Path) -> None:
    def photo(name: str) -> Image.Image:
        picture = Image.open(DATA / name).convert("RGB")
        picture.thumbnail((400, 400))
        return picture

    for year in ("2023", "2024"):
        (folder / year).mkdir(parents=True)
    photo("chelsea.png").save(folder / "Kätzchen.jpg")
    photo("chelsea.png").rotate(10).save(folder / "2023" / "cat.jpg")
    photo("coffee.png").save(folder / "2024" / "cat.jpg")
    photo("rocket.jpg").save(folder / "rocket.jpg")
    photo("hubble_deep_field.jpg").convert("CMYK").save(folder / "sky.jpg")
    photo("astronaut.png").save(folder / "no row.png")
    pillow_heif.from_pillow(photo("camera.png")).save(folder / "IMG_0001.HEIC")
    whole = (folder / "rocket.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "raw.NEF").write_bytes(b"raw")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "Liste.csv").write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())


def test_init_finds_pictures_table_types_and_model(desk: Desk) -> None:
    ran = desk.lookalike("init", "Meine Bilder")
    assert ran.returncode == 0, ran.stderr
    assert "8 in Meine Bilder (6 JPEG, 1 HEIC, 1 PNG); 3 other files" in ran.stdout
    assert "Liste.csv: 6 of 8 pictures have a row (column 'Datei'; 7 rows)" in ran.stdout
    assert "Preis (Float)" in ran.stdout
    assert "Aufgenommen (Datetime)" in ran.stdout
    assert "Stück (Integer)" in ran.stdout
    assert "finds similar photographs; knows no words" in ran.stdout
    assert "lookalike up -f lookalike.yaml" in ran.stdout


def test_a_dry_run_tells_before_the_start_what_will_not_come_in(desk: Desk) -> None:
    ran = desk.lookalike("ingest", "--dry-run", "-f", "lookalike.yaml")
    assert ran.returncode == 5, ran.stderr
    assert re.search(r"1 picture: the JPEG image ends early.*\(such as broken.jpg\)", ran.stdout)
    assert "1 file: .nef: camera raw files are not supported" in ran.stdout
    assert "2 pictures: Liste.csv has no row for it" in ran.stdout
    assert "1 row: no file of the folder has the name that Liste.csv says" in ran.stdout


def test_up_brings_in_what_can_come_in_and_tells_the_rest_by_cause(desk: Desk) -> None:
    ran = desk.lookalike(
        "up", "-f", "lookalike.yaml", "--detach", "--wait", "--port", str(desk.port)
    )
    assert ran.returncode == 5, ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr, "control characters without a terminal"
    assert re.search(r"failed: 1 image: the JPEG image ends early.*broken.jpg", ran.stderr)
    assert "skipped: 1 file: .nef" in ran.stderr
    assert "Liste.csv has no row for it" in ran.stderr
    assert "(such as gone.jpg)" in ran.stderr
    assert "knows no words" in ran.stdout
    proposed = re.search(r"A first query: +lookalike (search .*)", ran.stdout)
    assert proposed is not None
    first = desk.lookalike(*shlex.split(proposed[1]))
    assert first.returncode == 0, first.stderr
    assert "Nothing found" not in first.stdout


def test_status_tells_the_same_later(desk: Desk) -> None:
    status = desk.lookalike("status")
    assert status.returncode == 0
    assert "failed: 1 image" in status.stdout


def test_a_picture_finds_the_ones_like_it(desk: Desk) -> None:
    first, second, *_ = desk.found("--image", "Meine Bilder/Kätzchen.jpg")
    assert first["document_id"] == "Kätzchen.jpg"
    assert second["document_id"] == "2023/cat.jpg", "the same cat, turned a little"


def test_what_the_spreadsheet_says_can_be_filtered_by(desk: Desk) -> None:
    cheap = desk.found("--image", "Meine Bilder/Kätzchen.jpg", "--filter", "Preis<20")
    assert {each["document_id"] for each in cheap} == {"Kätzchen.jpg", "2023/cat.jpg"}
    many = desk.found("--image", "Meine Bilder/Kätzchen.jpg", "--filter", "Stück>=3")
    assert {each["document_id"] for each in many} == {"Kätzchen.jpg", "sky.jpg"}
    late = desk.found("--image", "Meine Bilder/rocket.jpg", "--filter", "Aufgenommen>=2024-02-29")
    assert {each["document_id"] for each in late} == {"Kätzchen.jpg", "2024/cat.jpg"}


def test_what_an_iphone_writes_is_searched_too(desk: Desk) -> None:
    first, *_ = desk.found("--image", "Meine Bilder/IMG_0001.HEIC")
    assert first["document_id"] == "IMG_0001.HEIC"


def test_words_are_refused_with_the_models_name(desk: Desk) -> None:
    ran = desk.lookalike("search", "a cat")
    assert ran.returncode == 4
    assert "tf_efficientnet_lite0" in ran.stderr


def test_a_changed_file_is_taken_over_by_the_running_server(desk: Desk) -> None:
    file = desk.folder / "lookalike.yaml"
    file.write_text(file.read_text().replace("topK: 24", "topK: 2"))
    ran = desk.lookalike("apply", "-f", "lookalike.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "meine-bilder-search" in ran.stdout, "what changes is told"
    assert len(desk.found("--image", "Meine Bilder/Kätzchen.jpg")) == 2


def test_documents_are_deleted_after_a_question(desk: Desk) -> None:
    command = ("delete", "--filter", "Preis>=30")
    asked = desk.lookalike(*command)
    assert asked.returncode != 0, "nobody was there to answer"
    assert "2 documents" in asked.stdout + asked.stderr
    assert desk.lookalike(*command, "--yes").returncode == 0
    assert desk.found("--image", "Meine Bilder/sky.jpg", "--filter", "Preis>=30") == []
