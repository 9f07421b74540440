//! Looks into XML answers as they stand, control characters and all.

/// The text of every element of that name, in their order, references resolved.
pub fn all(xml: &str, name: &str) -> Vec<String> {
    blocks(xml, name).into_iter().map(unescape).collect()
}

/// The text of the first element of that name; empty if there is none.
pub fn one(xml: &str, name: &str) -> String {
    all(xml, name).into_iter().next().unwrap_or_default()
}

/// What stands between the tags of every element of that name.
pub fn blocks<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, open_with, close) = (format!("<{name}>"), format!("<{name} "), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    loop {
        let plain = rest.find(&open).map(|at| at + open.len());
        let dressed = rest.find(&open_with).and_then(|at| rest[at..].find('>').map(|end| at + end + 1));
        let Some(start) = plain.into_iter().chain(dressed).min() else { return found };
        let Some(length) = rest[start..].find(&close) else { return found };
        found.push(&rest[start..start + length]);
        rest = &rest[start + length + close.len()..];
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (name, left) = after.split_once(';').unwrap_or_else(|| panic!("a bare ampersand in {text:?}"));
        plain.push(resolve(name).unwrap_or_else(|| panic!("&{name}; in {text:?}")));
        rest = left;
    }
    plain + rest
}

fn resolve(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

/// Text as a request's XML must hold it; control characters as references.
pub fn escape(text: &str) -> String {
    let special = |c: char| c.is_control() || "<>&\"'".contains(c);
    text.chars().map(|c| if special(c) { format!("&#{};", u32::from(c)) } else { c.to_string() }).collect()
}

/// Undoes `encoding-type=url`.
pub fn url_decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().expect("keys are UTF-8").into_owned()
}
