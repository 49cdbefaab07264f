//! Formats of files, known by their first bytes and never by a name.

/// Bytes that suffice to know a format; the mark of tar stands at 257.
pub(crate) const HEAD_LEN: usize = 512;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Gzip,
    Zstd,
    Bzip2,
    Parquet,
    /// UTF-8, as far as it can be seen here.
    Text,
    /// Format that is not read: what it is, and the way out.
    Foreign(&'static str),
}

/// Magic numbers of formats that are not read.
const FOREIGN: [(&[u8], &str); 23] = [
    (b"\xfd7zXZ\0", "this is an xz file; unpack it first: `xz -d`"),
    (b"\x04\x22\x4d\x18", "this is an lz4 file; unpack it first: `lz4 -d`"),
    (b"LZIP", "this is an lzip file; unpack it first: `lzip -d`"),
    (b"\x5d\0\0", "this is an lzma file; unpack it first: `xz -d`"),
    (b"\x1f\x9d", "this is a file of `compress`; unpack it first: `gzip -d`"),
    (b"\xff\x06\0\0sNaPpY", "this is a framed snappy file; unpack it first"),
    (b"PK\x03\x04", "this is a zip file; unpack it first: `unzip`"),
    (b"PK\x05\x06", "this is a zip file without anything in it"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z file; unpack it first: `7z x`"),
    (b"Rar!\x1a\x07", "this is a rar file; unpack it first: `unrar x`"),
    (b"SQLite format 3\0", "this is an SQLite database; write its rows as JSON lines"),
    (b"\x89HDF\r\n\x1a\n", "this is an HDF5 file; write its rows as JSON lines"),
    (
        b"ARROW1",
        "this is an Arrow or Feather file; write it as parquet or JSON lines: `to_parquet`",
    ),
    (
        b"\xff\xff\xff\xff",
        "this is an Arrow stream; write it as parquet or JSON lines: `to_parquet`",
    ),
    (b"PARE", "this is an encrypted parquet file; decrypt it first"),
    (b"ORC", "this is an ORC file; write it as parquet or JSON lines"),
    (b"Obj\x01", "this is an Avro file; write it as parquet or JSON lines"),
    (b"\x93NUMPY", "this is an array of NumPy; write its rows as JSON lines"),
    (b"%PDF-", "this is a PDF"),
    (b"GGUF", "this is a model in GGUF"),
    (b"\x7fELF", "this is a program"),
    (
        b"version https://git-lfs",
        "this is a pointer of Git LFS, the file itself was not fetched: `git lfs pull`",
    ),
    (b"<?xml", "this is XML; records are JSON lines, JSON or parquet"),
];

impl Format {
    /// Format of a file that begins with `head`, up to [`HEAD_LEN`] bytes of it.
    pub(crate) fn of(head: &[u8]) -> Self {
        let known = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic));
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Self::Bzip2
            }
            [b'P', b'A', b'R', b'1', ..] => Self::Parquet,
            [0x80, 2..=5, ..] => {
                Self::Foreign("this is a pickle of Python; write its rows as JSON lines")
            }
            _ if head.get(257..262) == Some(b"ustar") => {
                Self::Foreign("this is a tar archive; unpack it first: `tar -x`")
            }
            _ => known.map_or_else(|| text(head), |(_, what)| Self::Foreign(what)),
        }
    }

    /// Name of a compression.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Parquet => "parquet",
            Self::Text | Self::Foreign(_) => "text",
        }
    }
}

/// Text, unless it is in another encoding, a page of HTML, or binary.
fn text(head: &[u8]) -> Format {
    let utf16 = "not UTF-8: it begins like UTF-16; convert it: `iconv -f UTF-16 -t UTF-8`";
    let little_endian =
        "not UTF-8: it begins like UTF-16; convert it: `iconv -f UTF-16LE -t UTF-8`";
    let big_endian = "not UTF-8: it begins like UTF-16; convert it: `iconv -f UTF-16BE -t UTF-8`";
    let utf32 = "not UTF-8: it begins like UTF-32; convert it: `iconv -f UTF-32 -t UTF-8`";
    let foreign = match head {
        // Without a mark: the first characters of all that is read are ASCII.
        [0xff, 0xfe, 0, 0, ..]
        | [0, 0, 0xfe, 0xff, ..]
        | [9..=0x7f, 0, 0, 0, ..]
        | [0, 0, 0, 9..=0x7f, ..] => utf32,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => utf16,
        [9..=0x7f, 0, 9..=0x7f, 0, ..] => little_endian,
        [0, 9..=0x7f, 0, 9..=0x7f, ..] => big_endian,
        _ if head.contains(&0) => "this is a binary file in a format that is not known here",
        _ if is_html(head) => {
            "this is a page of HTML, perhaps an error page that was saved; fetch the file again"
        }
        _ => return Format::Text,
    };
    Format::Foreign(foreign)
}

fn is_html(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    ["<!doctype html", "<html", "<head"].iter().any(|tag| {
        head.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_first_bytes() {
        let tar = [&[b'x'; 257][..], b"ustar\0"].concat();
        for (head, expected) in [
            (&b""[..], Format::Text),
            (b"{", Format::Text),
            (b"\xef\xbb\xbf{}", Format::Text),
            (b"\x1f\x8b", Format::Gzip),
            (b"\x5a\x2a\x4d\x18\x04", Format::Zstd),
            (b"BZh91AY&SY", Format::Bzip2),
            // The beginning of a word.
            (b"BZh9 is a word", Format::Text),
            (b"PAR1", Format::Parquet),
        ] {
            assert_eq!(Format::of(head), expected, "{head:?}");
        }
        for (head, word) in [
            (&b"\xfd7zXZ\0"[..], "xz"),
            (b"PK\x03\x04", "zip"),
            (b"ARROW1\0\0", "Arrow"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"\x80\x04\x95", "pickle"),
            (&tar, "tar"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"{\0\"\0", "UTF-16LE"),
            (b"\0{\0\"", "UTF-16BE"),
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
            (b"{\0\0\0", "UTF-32"),
            (b" \n<!DOCTYPE HTML><html>", "HTML"),
            (b"abc\0d", "binary"),
        ] {
            let Format::Foreign(what) = Format::of(head) else { panic!("{head:?}") };
            assert!(what.contains(word), "{what}");
        }
    }
}
