//! "Did you mean": the known name nearest to one that is not known.

/// Help for an unknown name: the nearest known one, or all of them when there are few.
#[must_use]
pub fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4 && *distance < found.len())
        .min();
    match nearest {
        Some((_, name)) => Some(format!("did you mean `{name}`?")),
        None if known.is_empty() => None,
        None => Some(one_of(known)),
    }
}

/// "known are `a`, `b`", cut after a dozen.
#[must_use]
pub fn one_of<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    let more = all.len().saturating_sub(SHOWN);
    let listed = all[..all.len().min(SHOWN)].join(", ");
    if more == 0 {
        format!("known are {listed}")
    } else {
        format!("known are {listed} and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_named_and_a_far_one_lists_what_is_known() {
        let known = ["readiness", "db_pool", "tune"];
        assert_eq!(did_you_mean("db_pol", known).unwrap(), "did you mean `db_pool`?");
        assert_eq!(did_you_mean("xyz", known).unwrap(), "known are `readiness`, `db_pool`, `tune`");
        assert_eq!(did_you_mean("x", []), None);
    }
}
