//! Walking along a shard: each row against the one before it.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::event::{Link, Shard, payload_digest};
use crate::id::UserId;

use super::{Fault, Finding, Mark, RecordedEvent, RecordedRow};

/// What a checkpoint says of a shard: that its hash at this position was this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The place.
    pub mark: Mark,
    /// The serial number of the checkpoint.
    pub serial: u64,
}

/// What a walk saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Rows whose payload is erased; the chain holds over them.
    pub erased: u64,
}

/// A walk along one shard, from its beginning to its head. It goes on after a fault with the hash that is stored, so that
/// one fault is told once and those after it are found too.
#[derive(Debug)]
pub struct ShardWalk {
    shard: Shard,
    /// The last row: what the next one is linked to.
    last: Mark,
    /// Whether the hash of the last row is known; after a gap it is not.
    linked: bool,
    claims: Peekable<IntoIter<Claim>>,
    tally: Tally,
}

impl ShardWalk {
    /// A walk that begins after the last row that retention removed.
    pub fn new(shard: Shard, beginning: Mark, mut claims: Vec<Claim>) -> Self {
        claims.sort_by_key(|claim| (claim.mark.position, claim.serial));
        claims.dedup_by_key(|claim| claim.mark);
        Self {
            shard,
            last: beginning,
            linked: true,
            claims: claims.into_iter().peekable(),
            tally: Tally::default(),
        }
    }

    /// The shard.
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    /// The position of the last row.
    pub const fn position(&self) -> u64 {
        self.last.position
    }

    /// Goes on from a later beginning: retention removed the rows before it meanwhile.
    pub fn begin_later(&mut self, beginning: Mark) {
        if beginning.position > self.last.position {
            self.last = beginning;
            self.linked = true;
        }
    }

    /// Looks at the next row. Rows at or before the last one are left out.
    pub fn row(&mut self, row: &RecordedRow, mut report: impl FnMut(Finding)) {
        let next = self.last.position + 1;
        if row.position < next {
            return;
        }
        let (shard, at) = (self.shard, row.position);
        let mut tell = |position, fault| {
            report(Finding {
                shard: Some(shard),
                position: Some(position),
                event_id: (position == at).then_some(row.event_id),
                fault,
            });
        };
        if at > next {
            tell(next, Fault::Removed { to: at - 1 });
            self.linked = false;
        }
        self.tally.rows += 1;
        match &row.event {
            None => tell(at, Fault::EventRemoved),
            Some(event) => {
                if let Some(fault) = self.payload_fault(event) {
                    tell(at, fault);
                }
                if is_misfiled(shard, row, event) {
                    tell(at, Fault::Misfiled);
                }
                if let Some(fault) = self.link_fault(row, event) {
                    tell(at, fault);
                }
            }
        }
        let stored = <[u8; 32]>::try_from(row.hash.as_slice());
        if stored.is_err() && row.event.is_none() {
            tell(at, Fault::Changed);
        }
        self.linked = stored.is_ok();
        self.last = Mark {
            position: at,
            hash: stored.unwrap_or_default(),
        };
        while let Some(claim) = self.claims.next_if(|claim| claim.mark.position <= at) {
            if claim.mark.position == at && claim.mark.hash != self.last.hash {
                tell(
                    at,
                    Fault::Rewritten {
                        checkpoint: claim.serial,
                    },
                );
            }
        }
    }

    /// Ends at the head as it was stored when the walk began; retention may have gone beyond it meanwhile.
    pub fn end(mut self, head: Mark, mut report: impl FnMut(Finding)) -> Tally {
        let last = self.last;
        let mut tell = |position, fault| {
            report(Finding {
                shard: Some(self.shard),
                position: Some(position),
                event_id: None,
                fault,
            });
        };
        if last.position < head.position {
            tell(
                last.position + 1,
                Fault::CutOff {
                    to: head.position,
                    checkpoint: None,
                },
            );
        } else if last.position == head.position && last.hash != head.hash {
            tell(head.position, Fault::HeadDiffers);
        }
        // Claims at the beginning itself, when there was no row after it.
        while let Some(claim) = self.claims.next_if(|claim| claim.mark.position <= last.position) {
            if claim.mark.position == last.position && claim.mark.hash != last.hash {
                tell(
                    last.position,
                    Fault::Rewritten {
                        checkpoint: claim.serial,
                    },
                );
            }
        }
        if let Some(furthest) = self.claims.last() {
            let (to, checkpoint) = (furthest.mark.position, Some(furthest.serial));
            tell(last.position.max(head.position) + 1, Fault::CutOff { to, checkpoint });
        }
        self.tally
    }

    fn payload_fault(&mut self, event: &RecordedEvent) -> Option<Fault> {
        match (&event.data, &event.salt) {
            (Some(data), Some(salt)) => {
                let genuine = <[u8; 16]>::try_from(salt.as_slice())
                    .is_ok_and(|salt| payload_digest(&salt, event.subject.as_deref(), data)[..] == event.digest[..]);
                (!genuine).then_some(Fault::PayloadChanged)
            }
            (None, None) if event.subject.is_none() => {
                self.tally.erased += 1;
                None
            }
            _ => Some(Fault::HalfErased),
        }
    }

    fn link_fault(&self, row: &RecordedRow, event: &RecordedEvent) -> Option<Fault> {
        if !self.linked {
            return None;
        }
        let link = Link {
            event_id: row.event_id,
            time: event.time,
            user_id: event.user_id,
            event_type: &event.event_type,
            actor: &event.actor,
            impersonator: event.impersonator,
            request_id: event.request_id,
            digest: &event.digest,
            schema_version: event.schema_version.map(i32::cast_unsigned),
        };
        let fits = |position| link.hash(&self.last.hash, self.shard, position)[..] == row.hash[..];
        if fits(row.position) {
            return None;
        }
        let neighbours = [row.position - 1, row.position + 1];
        let moved = neighbours.into_iter().find(|position| fits(*position));
        Some(moved.map_or(Fault::Changed, |from| Fault::Moved { from }))
    }
}

fn is_misfiled(shard: Shard, row: &RecordedRow, event: &RecordedEvent) -> bool {
    row.user_id != event.user_id
        || event.shard != i16::from(shard.number())
        || Shard::of(UserId::new(event.user_id)) != shard
}
