//! The name that a misspelt word was probably meant to be.

/// Returns the name with the fewest changes, if there are at most two.
pub(crate) fn nearest(
    word: &[u8],
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // A longer word is not a typing error, and the comparison would take long.
    if word.len() > 12 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let near = |name: &'static str| {
        let lower = name.to_ascii_lowercase();
        (distance(&word, lower.as_bytes()), name)
    };
    let (distance, name) = names.map(near).min()?;
    (distance <= 2 && distance < word.len()).then_some(name)
}

/// Returns the number of letters to change, insert or delete (Levenshtein distance).
fn distance(a: &[u8], b: &[u8]) -> usize {
    // Longer than any name, so that the row needs no memory.
    let mut row: [usize; 16] = std::array::from_fn(|n| n);
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal.saturating_add(usize::from(x != y));
            diagonal = *cell;
            left = changed
                .min(left.saturating_add(1))
                .min(diagonal.saturating_add(1));
            *cell = left;
        }
    }
    row.get(b.len()).copied().unwrap_or(usize::MAX)
}
