//! Reads XML documents, leniently where S3 is: any namespace or none, unknown
//! elements, character references to control characters.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Elements inside elements, at most. S3's deepest request has three levels.
const DEPTH_MAX: usize = 16;

/// Text that is not the XML that was expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the XML is not well-formed")]
pub(crate) struct Malformed;

/// An element: its name without a prefix, its text, its children.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The children of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of that name, exactly.
    pub(crate) fn exact(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }

    /// The same without white space around it.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.exact(name).map(str::trim)
    }
}

/// The root element of a document.
pub(crate) fn parse(document: &[u8]) -> Result<Element, Malformed> {
    let mut reader = Reader::from_reader(document);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|_| Malformed)? {
            Event::Start(start) if root.is_none() && open.len() < DEPTH_MAX => open.push(begin(&start)?),
            Event::End(_) => close(&mut open, &mut root)?,
            Event::Text(text) => append(&mut open, &text.xml10_content().map_err(|_| Malformed)?)?,
            Event::CData(text) => append(&mut open, &text.xml10_content().map_err(|_| Malformed)?)?,
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|_| Malformed)?;
                append(&mut open, resolve(&name).ok_or(Malformed)?.encode_utf8(&mut [0; 4]))?;
            }
            Event::Eof => return root.filter(|_| open.is_empty()).ok_or(Malformed),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Start(_) | Event::Empty(_) | Event::DocType(_) => return Err(Malformed),
        }
    }
}

fn begin(start: &BytesStart<'_>) -> Result<Element, Malformed> {
    let name = std::str::from_utf8(start.local_name().into_inner()).map_err(|_| Malformed)?.to_owned();
    Ok(Element { name, ..Element::default() })
}

fn close(open: &mut Vec<Element>, root: &mut Option<Element>) -> Result<(), Malformed> {
    let element = open.pop().ok_or(Malformed)?;
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
    Ok(())
}

/// Text outside of the root may only be white space.
fn append(open: &mut [Element], text: &str) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
        None => return Err(Malformed),
    }
    Ok(())
}

fn resolve(reference: &str) -> Option<char> {
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = reference.strip_prefix('#')?;
            let (digits, radix) = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => (hexadecimal, 16),
                None => (number, 10),
            };
            let digits = Some(digits).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
            char::from_u32(u32::from_str_radix(digits, radix).ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::writer;
    use super::*;

    #[test]
    fn any_namespace_will_do() {
        for text in [
            "<A><B>1</B></A>",
            "<?xml version=\"1.0\"?>\n<A xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n <B>1</B>\n</A>\n",
            "<s3:A xmlns:s3='x'><s3:B>1</s3:B><C><D/></C><!-- no --></s3:A>",
            "\u{feff}<A><B><![CDATA[1]]></B></A>",
        ] {
            let root = parse(text.as_bytes()).unwrap();
            assert_eq!((root.name.as_str(), root.value("B")), ("A", Some("1")), "{text}");
        }
    }

    #[test]
    fn references_become_characters() {
        let root = parse(b"<A><K>&#x1;&#13;a &amp;&#xE9;&#0;&lt; </K></A>").unwrap();
        assert_eq!(root.exact("K"), Some("\u{1}\ra &é\0< "));
    }

    #[test]
    fn what_is_written_is_read() {
        let key: String = (0..0x180).chain([0xfffe, 0x1f600]).filter_map(char::from_u32).collect();
        let text = writer::document("A", |xml| xml.leaf("K", &key));
        assert_eq!(parse(text.as_bytes()).unwrap().exact("K"), Some(key.as_str()));
    }

    #[test]
    fn rubbish_is_refused() {
        let deep = "<A>".repeat(17) + &"</A>".repeat(17);
        for text in [
            "",
            "x",
            "<A>",
            "<A></B>",
            "<A/><B/>",
            "<A>&nope;</A>",
            "<A>&#xD800;</A>",
            "<A>&#+1;</A>",
            "<A/>tail",
            "<!DOCTYPE A [<!ENTITY b 'c'>]><A>&b;</A>",
            &deep,
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Malformed), "{text}");
        }
        assert_eq!(parse(b"<A>\xff</A>"), Err(Malformed));
    }
}
