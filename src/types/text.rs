//! Characters that act on what shows them.

/// Whether a character is shown as none: a control character, or one of those
/// of Unicode's category Cf that reorder or hide what stands beside them.
pub fn is_control_or_format(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_reorder_a_line_is_found_and_letters_are_not() {
        for letter in "\n\u{1b}\u{85}\u{ad}\u{61c}\u{200b}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}".chars() {
            assert!(is_control_or_format(letter), "{letter:?}");
        }
        for letter in "aß–€ あ🦀\u{a0}".chars() {
            assert!(!is_control_or_format(letter), "{letter:?}");
        }
    }
}
