from ohmcore.crc import crc16


def test_the_check_value_of_the_catalogue() -> None:
    assert crc16(b"123456789", 0, 9) == 0x4B37


def test_the_example_of_the_serial_line_guide() -> None:
    assert crc16(b"\x02\x07", 0, 2) == 0x1241


def test_nothing_gives_the_start_value() -> None:
    assert crc16(b"", 0, 0) == 0xFFFF


def test_only_the_part_between_start_and_end_counts() -> None:
    assert crc16(b"xx123456789yy", 2, 11) == 0x4B37


def test_a_frame_with_its_checksum_leaves_nothing() -> None:
    assert crc16(b"\xfc\x03\x27\x10\x00\x0f\x1b\x52", 0, 8) == 0


def test_any_kind_of_buffer() -> None:
    for buffer in (b"123456789", bytearray(b"123456789"), memoryview(b"123456789")):
        assert crc16(buffer, 0, 9) == 0x4B37
