"""What the tests of object stores stand on."""

import fsspec
import pytest

from tests.object_store import s3_server


@pytest.mark.slow
@pytest.mark.parametrize("time", ["first", "second"])
def test_a_server_starts_empty_and_is_found_however_many_were_before_in_this_process(time: str) -> None:
    with s3_server():
        store = fsspec.filesystem("s3")
        assert store.ls("bucket") == []
        store.pipe_file("bucket/key", time.encode())
        assert store.cat_file("bucket/key") == time.encode()
