//! The list of what a run must do to test anything.

/// Something that a run must do to test anything. Each is counted, and none may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// A short-lived thread came and went.
    Thread,
    /// A future was dropped before its first poll.
    NeverPolled,
    /// A future was dropped after its first poll.
    DroppedPolled,
    /// A call began on one thread and ended on another.
    Crossed,
    /// A task was aborted before it ran, or while it waited.
    Aborted,
    /// A tool was registered.
    Registered,
    /// A tool was registered again while it was held.
    Revived,
    /// A tool was deregistered.
    Deregistered,
    /// A tool was called through a handle after it was deregistered.
    CalledRetired,
    /// All tools were reset.
    Reset,
    /// An interval was read.
    Interval,
    /// A subscriber joined, and left again.
    Left,
    /// A redactor panicked.
    RedactorPanicked,
    /// A redactor called back.
    RedactorCalledBack,
    /// A waker panicked.
    WakerPanicked,
    /// A waker called back.
    WakerCalledBack,
    /// A waker was called that does not return before the end.
    WakerHeld,
    /// A body panicked when it was called, or when it was dropped.
    BodyPanicked,
    /// A body called back when it was called, or when it was dropped.
    BodyCalledBack,
    /// A receiver stopped half way.
    Halted,
    /// A clock stepped forwards.
    SteppedForwards,
    /// A clock stepped backwards.
    SteppedBackwards,
    /// The process forked.
    #[cfg(unix)]
    Forked,
}

impl Did {
    /// The number of variants.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Returns whether it is done only with forks.
    pub(crate) const fn is_fork(self) -> bool {
        #[cfg(unix)]
        return matches!(self, Self::Forked);
        #[cfg(not(unix))]
        false
    }

    /// All variants.
    pub(crate) const ALL: &[Self] = &[
        Self::Thread,
        Self::NeverPolled,
        Self::DroppedPolled,
        Self::Crossed,
        Self::Aborted,
        Self::Registered,
        Self::Revived,
        Self::Deregistered,
        Self::CalledRetired,
        Self::Reset,
        Self::Interval,
        Self::Left,
        Self::RedactorPanicked,
        Self::RedactorCalledBack,
        Self::WakerPanicked,
        Self::WakerCalledBack,
        Self::WakerHeld,
        Self::BodyPanicked,
        Self::BodyCalledBack,
        Self::Halted,
        Self::SteppedForwards,
        Self::SteppedBackwards,
        #[cfg(unix)]
        Self::Forked,
    ];

    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Thread => "threads that came and went",
            Self::NeverPolled => "futures dropped before the first poll",
            Self::DroppedPolled => "futures dropped after it",
            Self::Crossed => "calls handed to another thread",
            Self::Aborted => "tasks aborted",
            Self::Registered => "tools registered",
            Self::Revived => "tools registered again while held",
            Self::Deregistered => "tools deregistered",
            Self::CalledRetired => "calls of deregistered tools",
            Self::Reset => "resets",
            Self::Interval => "intervals read",
            Self::Left => "subscribers that joined and left",
            Self::RedactorPanicked => "redactors that panicked",
            Self::RedactorCalledBack => "redactors that called back",
            Self::WakerPanicked => "wakers that panicked",
            Self::WakerCalledBack => "wakers that called back",
            Self::WakerHeld => "wakers that did not return",
            Self::BodyPanicked => "bodies that panicked",
            Self::BodyCalledBack => "bodies that called back",
            Self::Halted => "receivers that stopped half way",
            Self::SteppedForwards => "clocks that stepped forwards",
            Self::SteppedBackwards => "clocks that stepped backwards",
            #[cfg(unix)]
            Self::Forked => "forks",
        }
    }
}
