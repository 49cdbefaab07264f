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
const FOREIGN: [(&[u8], &str); 20] = [
    (b"\xfd7zXZ\0", "this is an xz file; unpack it first: `xz -d`"),
    (b"\x04\x22\x4d\x18", "this is an lz4 file; unpack it first: `lz4 -d`"),
    (b"LZIP\x01", "this is an lzip file; unpack it first: `lzip -d`"),
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
    (b"Obj\x01", "this is an Avro file; write it as parquet or JSON lines"),
    (b"\x93NUMPY", "this is an array of NumPy; write its rows as JSON lines"),
    (b"%PDF-", "this is a PDF"),
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
            [b'P', b'A', b'R', b'1', rest @ ..] if !is_word_end(rest) => Self::Parquet,
            [b'P', b'A', b'R', b'E', rest @ ..] if has_binary(rest) => {
                Self::Foreign("this is an encrypted parquet file; decrypt it first")
            }
            [b'O', b'R', b'C', rest @ ..] if has_binary(rest) => {
                Self::Foreign("this is an ORC file; write it as parquet or JSON lines")
            }
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

/// Whether what follows four letters shows that they begin a word or a line of a text.
fn is_word_end(rest: &[u8]) -> bool {
    rest.first().is_some_and(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// Whether there is a byte that is in no text.
fn has_binary(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte < b'\t')
}

/// Text, unless it is in another encoding, a page of HTML, or binary.
fn text(head: &[u8]) -> Format {
    let foreign = match head {
        // Without a mark, too: the first characters of all that is read are ASCII.
        [0xff, 0xfe, 0, 0, ..]
        | [0, 0, 0xfe, 0xff, ..]
        | [9..=0x7f, 0, 0, 0, ..]
        | [0, 0, 0, 9..=0x7f, ..] => {
            "not UTF-8: it begins like UTF-32; convert it: `iconv -f UTF-32 -t UTF-8`"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "not UTF-8: it begins like UTF-16; convert it: `iconv -f UTF-16 -t UTF-8`"
        }
        [9..=0x7f, 0, 9..=0x7f, 0, ..] => {
            "not UTF-8: it begins like UTF-16; convert it: `iconv -f UTF-16LE -t UTF-8`"
        }
        [0, 9..=0x7f, 0, 9..=0x7f, ..] => {
            "not UTF-8: it begins like UTF-16; convert it: `iconv -f UTF-16BE -t UTF-8`"
        }
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
            (b"PAR1\x15\x04", Format::Parquet),
            (b"PAR1\xc3\x80 ", Format::Parquet),
            (b"PAR1\tWho?\n", Format::Text),
            (b"PARENT\tWho?\n", Format::Text),
            (b"ORCHID\tWho?\n", Format::Text),
        ] {
            assert_eq!(Format::of(head), expected, "{head:?}");
        }
        for (head, word) in [
            (&b"\xfd7zXZ\0"[..], "xz"),
            (b"PK\x03\x04", "zip"),
            (b"ARROW1\0\0", "Arrow"),
            (b"ORC\x08\x03", "ORC"),
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
