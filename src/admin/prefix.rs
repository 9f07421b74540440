//! Ids as people type them: whole, or a beginning that no other has.

use super::{AdminError, ErrorKind};

/// Fewest digits that are taken for a beginning.
const DIGITS_MIN: usize = 4;

/// Finds what is meant by `text` among ids with what they stand for.
pub(super) fn find<T: Copy>(noun: &str, text: &str, ids: impl Iterator<Item = (String, T)>) -> Result<T, AdminError> {
    let wanted = text.to_ascii_lowercase();
    let hexadecimal = wanted.len() <= 64 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || wanted.len() < DIGITS_MIN {
        return Err(AdminError::invalid(format!(
            "'{}' is no {noun} id: give at least its first {DIGITS_MIN} hexadecimal digits",
            text.chars().take(80).collect::<String>().escape_default()
        )));
    }
    let mut matches = ids.filter(|(id, _)| id.starts_with(&wanted));
    let Some((id, found)) = matches.next() else {
        return Err(AdminError::new(ErrorKind::NotFound, format!("there is no {noun} {wanted}")));
    };
    match matches.next() {
        Some((other, _)) => Err(AdminError::invalid(format!(
            "{wanted} is the beginning of more than one {noun}, {id} and {other} among them: give more digits"
        ))),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str) -> Result<u8, AdminError> {
        let ids = ["abcd1111", "abcd2222", "beef0000"].map(str::to_owned);
        find("node", text, ids.into_iter().zip(1..))
    }

    #[test]
    fn a_beginning_is_enough_when_it_is_the_only_one() {
        assert_eq!(look("abcd2"), Ok(2));
        assert_eq!(look("BEEF0000"), Ok(3));
        for (text, kind) in [
            ("abcd", ErrorKind::Invalid),
            ("abc", ErrorKind::Invalid),
            ("", ErrorKind::Invalid),
            ("../../etc", ErrorKind::Invalid),
            ("beef00001", ErrorKind::NotFound),
        ] {
            assert_eq!(look(text).unwrap_err().kind, kind, "{text}");
        }
    }
}
