use std::fmt;
use std::str::FromStr;

use super::Invalid;

const PLACE_BITS: u32 = 16;
const OFFSET_BITS: u32 = 40;
const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;

/// Which life of the change log a position belongs to: 1 to 127.
///
/// A log that begins with no rows behind it has one of [`GENERATIONS_FIRST`], drawn at random: offsets begin at 1 in
/// each log, so that without this a revision of a log that was thrown away would soon be one of the log in its place,
/// and its readers would go on in another history. It happens still to one of 95 such logs. Neither a clock nor a name
/// decides, the order stays that of the numbers, and what is raised later is above all of them.
pub type LogGeneration = u8;

/// Of a log's first life. The others, up to 127, are for a log that was lost while its rows were not.
pub const GENERATIONS_FIRST: std::ops::RangeInclusive<LogGeneration> = 1..=95;

/// The largest log generation: the sign bit of a packed revision stays free for protocols with signed integers.
const GENERATION_MAX: LogGeneration = 127;

/// Names one log for ever; random, written before its first frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogIdentity(pub [u8; 16]);

impl fmt::Debug for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One life of one node's process; random, so that a restarted node is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeIncarnation(pub u64);

impl fmt::Display for NodeIncarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The place of a frame in the log. Frames count from 1; [`Position::ZERO`] is before the first one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    pub const ZERO: Self = Self(0);

    /// `None` when the generation or the offset is beyond what a revision can carry.
    pub fn new(generation: LogGeneration, offset: u64) -> Option<Self> {
        (generation <= GENERATION_MAX && offset <= OFFSET_MAX)
            .then_some(Self(u64::from(generation) << OFFSET_BITS | offset))
    }

    pub fn generation(self) -> LogGeneration {
        (self.0 >> OFFSET_BITS) as LogGeneration
    }

    pub fn offset(self) -> u64 {
        self.0 & OFFSET_MAX
    }

    /// Whether they are of logs that have nothing in common: both are of first generations, and a log that had one of
    /// those is only ever raised above all of them.
    pub fn is_of_another_log(self, other: Self) -> bool {
        let is_first = |position: Self| GENERATIONS_FIRST.contains(&position.generation());
        is_first(self) && is_first(other) && self.generation() != other.generation()
    }

    /// The position of the frame behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The revision of the change at `place` of this frame.
    pub fn at(self, place: u16) -> Revision {
        Revision(self.0 << PLACE_BITS | u64::from(place))
    }

    /// A revision that is not below any change of this frame and below all of the next.
    pub fn last(self) -> Revision {
        self.at(u16::MAX)
    }

    pub fn packed(self) -> u64 {
        self.0
    }

    pub fn from_packed(packed: u64) -> Option<Self> {
        (packed >> OFFSET_BITS <= u64::from(GENERATION_MAX)).then_some(Self(packed))
    }

    /// This position less `frames`, not below the start of its generation.
    #[must_use]
    pub fn back(self, frames: u64) -> Self {
        Self(self.0 - frames.min(self.offset()))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation(), self.offset())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The place of a change in the one order of everything: log generation, offset, place in the frame.
///
/// Opaque to clients, who hand it back as they got it (`1.57.2`). Packed into 64 bits of which the highest is never
/// set, for protocols that want one integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(u64);

impl Revision {
    /// Before every change.
    pub const ZERO: Self = Self(0);

    pub fn position(self) -> Position {
        Position(self.0 >> PLACE_BITS)
    }

    pub fn place(self) -> u16 {
        self.0 as u16
    }

    pub fn packed(self) -> u64 {
        self.0
    }

    pub fn from_packed(packed: u64) -> Option<Self> {
        Position::from_packed(packed >> PLACE_BITS).map(|_| Self(packed))
    }
}

/// Written in one piece: every answer to a write shows two.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 3 digits, 13 and 5, and a point before each.
        let mut text = [b'.'; 24];
        let mut start = text.len();
        let mut put = |mut number: u64| loop {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                start -= 1;
                break;
            }
        };
        put(u64::from(self.place()));
        put(self.position().offset());
        put(u64::from(self.position().generation()));
        f.write_str(std::str::from_utf8(&text[start + 1..]).expect("digits and points"))
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("revision", text, "a revision that Thuban gave, like 1.57.2");
        let mut parts = text.split('.');
        let mut next = || {
            let part = parts.next().filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|p| p.parse::<u64>().ok()).ok_or_else(wrong)
        };
        let generation = LogGeneration::try_from(next()?).map_err(|_| wrong())?;
        let offset = next()?;
        let place = u16::try_from(next()?).map_err(|_| wrong())?;
        let position = Position::new(generation, offset).ok_or_else(wrong)?;
        if parts.next().is_some() { Err(wrong()) } else { Ok(position.at(place)) }
    }
}
