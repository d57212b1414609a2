//! A list that allocates nothing while it is short, as most calls on several keys are.

/// So many lie in the list itself.
const INLINE: usize = 8;

/// The list.
pub struct Few<T> {
    inline: [Option<T>; INLINE],
    len: usize,
    /// What came after those.
    rest: Vec<T>,
}

impl<T> Few<T> {
    /// Of nothing yet.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            inline: [const { None }; INLINE],
            len: 0,
            rest: Vec::new(),
        }
    }

    /// Adds one at the end.
    #[inline(always)]
    pub fn push(&mut self, item: T) {
        match self.inline.get_mut(self.len) {
            Some(free) => *free = Some(item),
            None => self.rest.push(item),
        }
        self.len = self.len.saturating_add(1);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// In the order in which they came.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.inline
            .iter()
            .map_while(Option::as_ref)
            .chain(&self.rest)
    }
}
