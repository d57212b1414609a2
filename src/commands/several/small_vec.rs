//! A list that allocates nothing while it is short, as in most calls on several keys.

/// Number of items stored inline.
const INLINE: usize = 8;

/// The list.
pub struct Few<T> {
    inline: [Option<T>; INLINE],
    len: usize,
    /// The items after those.
    rest: Vec<T>,
}

impl<T> Few<T> {
    /// Creates an empty list.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            inline: [const { None }; INLINE],
            len: 0,
            rest: Vec::new(),
        }
    }

    /// Appends an item.
    #[inline(always)]
    pub fn push(&mut self, item: T) {
        match self.inline.get_mut(self.len) {
            Some(free) => *free = Some(item),
            None => self.rest.push(item),
        }
        self.len = self.len.saturating_add(1);
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Iterates over the items in order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.inline
            .iter_mut()
            .map_while(Option::as_mut)
            .chain(&mut self.rest)
    }

    /// Iterates over the items in order.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.inline
            .iter()
            .map_while(Option::as_ref)
            .chain(&self.rest)
    }
}
