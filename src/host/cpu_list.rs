//! Lists of CPUs as the kernel writes them: `0-3,8`, in older files `0 1 2 3`, and as masks `00000000,0000010f`.
//!
//! Knows nothing of what a list is about.

/// The largest CPU number taken for real; Linux is built for at most 8192 CPUs.
const LAST: usize = 8191;

/// The CPUs of a list, ascending and each once; an empty text is an empty list. Nothing when it is no such list.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split([',', ' ', '\t', '\n']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last > LAST {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// The CPUs of a mask: hex digits, the last bit for CPU 0, in groups of 32 between commas. Nothing when it is no mask.
#[must_use]
pub fn parse_mask(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    let mut first = 0;
    for digit in text.trim().chars().rev().filter(|letter| *letter != ',') {
        let bits = digit.to_digit(16)?;
        cpus.extend((0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| first + bit));
        first += 4;
    }
    (first > 0 && cpus.last().is_none_or(|last| *last <= LAST)).then_some(cpus)
}

/// The shortest list of `cpus`, which ascend: `0-3,8`.
#[must_use]
pub fn render(cpus: &[usize]) -> String {
    cpus.chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            _ => run.iter().map(ToString::to_string).collect(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_commas_and_blanks_all_make_lists() {
        assert_eq!(parse("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse("2 1 0"), Some(vec![0, 1, 2]));
        assert_eq!(parse("\n"), Some(vec![]));
        for text in ["3-1", "0-", "all", "0-99999999999", "-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn masks_name_the_same_cpus_as_lists() {
        assert_eq!(parse_mask("00000000,0000010f\n"), parse("0-3,8"));
        assert_eq!(parse_mask("1,00000000"), Some(vec![32]));
        assert_eq!(parse_mask("0"), Some(vec![]));
        for text in ["", "0-3", "x"] {
            assert_eq!(parse_mask(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_rendered_list_parses_to_itself(cpus in proptest::collection::btree_set(0..=LAST, 0..50)) {
            let cpus: Vec<usize> = cpus.into_iter().collect();
            proptest::prop_assert_eq!(parse(&render(&cpus)), Some(cpus));
        }
    }
}
