//! Writes XML documents.

use std::fmt::{self, Display, Write};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document under construction.
pub(crate) struct Writer {
    text: String,
}

/// A document in S3's namespace.
pub(crate) fn document(root: &str, content: impl FnOnce(&mut Writer)) -> String {
    render(root, &format!(" xmlns=\"{NAMESPACE}\""), content)
}

/// A document without a namespace, as errors are.
pub(crate) fn plain_document(root: &str, content: impl FnOnce(&mut Writer)) -> String {
    render(root, "", content)
}

fn render(root: &str, attributes: &str, content: impl FnOnce(&mut Writer)) -> String {
    let mut writer = Writer { text: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}{attributes}>") };
    content(&mut writer);
    writer.end(root);
    writer.text
}

impl Writer {
    /// An element with elements inside.
    pub(crate) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.start(name);
        content(self);
        self.end(name);
    }

    /// An element with text inside, which is escaped.
    pub(crate) fn leaf(&mut self, name: &str, value: impl Display) {
        self.start(name);
        write!(Escape(&mut self.text), "{value}").expect("writing to a String does not fail");
        self.end(name);
    }

    /// The same, if there is a value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.leaf(name, value);
        }
    }

    /// An element that only repeats what the client said. It is left out where
    /// XML 1.0 has no way to say it, or strict parsers (those of Python and Go)
    /// would refuse the rest of the document, too.
    pub(crate) fn echo(&mut self, name: &str, value: &str) {
        if value.chars().all(is_xml_1_0) {
            self.leaf(name, value);
        }
    }

    /// Text directly in the current element.
    pub(crate) fn text(&mut self, value: &str) {
        Escape(&mut self.text).write_str(value).expect("writing to a String does not fail");
    }

    fn start(&mut self, name: &str) {
        self.text.extend(["<", name, ">"]);
    }

    fn end(&mut self, name: &str) {
        self.text.extend(["</", name, ">"]);
    }
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        let mut written = 0;
        for (at, letter) in value.char_indices().filter(|&(_, letter)| needs_escape(letter)) {
            self.0.push_str(&value[written..at]);
            escape(self.0, letter)?;
            written = at + letter.len_utf8();
        }
        self.0.push_str(&value[written..]);
        Ok(())
    }
}

fn is_xml_1_0(letter: char) -> bool {
    !matches!(letter, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn needs_escape(letter: char) -> bool {
    matches!(letter, '\0'..='\x1f' | '"' | '&' | '<' | '>' | '\u{fffe}' | '\u{ffff}')
}

fn escape(text: &mut String, letter: char) -> fmt::Result {
    match letter {
        '"' => text.write_str("&quot;"),
        '&' => text.write_str("&amp;"),
        '<' => text.write_str("&lt;"),
        '>' => text.write_str("&gt;"),
        '\r' => text.write_str("&#13;"),
        other => write!(text, "&#x{:x};", u32::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_nest_and_escape() {
        let text = document("R", |xml| {
            xml.leaf("K", "a<b>&\"'\r\n\u{1}\u{7f}é");
            xml.element("E", |xml| xml.leaf("N", 7));
            xml.optional("No", None::<&str>);
            xml.leaf("Empty", "");
        });
        let body = "<K>a&lt;b&gt;&amp;&quot;'&#13;&#xa;&#x1;\u{7f}é</K><E><N>7</N></E><Empty></Empty></R>";
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        assert_eq!(text, format!("{head}{body}"));
    }

    #[test]
    fn echoes_are_left_out_where_they_would_break_the_document() {
        let text = plain_document("R", |xml| {
            xml.echo("Key", "a\u{1}");
            xml.echo("Key", "tab\tand\r");
        });
        assert!(text.ends_with("<R><Key>tab&#x9;and&#13;</Key></R>"), "{text}");
    }
}
