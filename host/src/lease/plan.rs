//! Which shards a host should hold, decided from the leases it sees. No IO, no clock.
//!
//! A lease counts as held for as long as it was seen to change: what other hosts' clocks say
//! is not believed. Who should hold a shard follows from who is alive, so hosts agree
//! without talking to each other; that only one holds it follows from the lease itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

/// A lease as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who holds it; none if it was given back.
    pub(super) holder: Option<String>,
    /// Its resourceVersion.
    pub(super) version: String,
    /// When this version was first seen, on this host's clock.
    pub(super) since: Instant,
}

/// All leases of a group of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// One for each host, by its name.
    pub(super) members: BTreeMap<String, Seen>,
    /// One for each shard that was ever held.
    pub(super) shards: BTreeMap<u32, Seen>,
}

/// What to do about leases.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Tell the others that this host is alive.
    Beat,
    /// Take a shard that nobody holds. The version is that of the lease; none to create it.
    Take { shard: u32, version: Option<String> },
    /// Go on holding a shard.
    Renew { shard: u32, version: String },
    /// Give a shard back, for somebody else should hold it.
    Release { shard: u32, version: String },
    /// Remove the lease of a host that has been gone for long.
    Bury { member: String },
}

/// How leases are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// How many shards there are.
    pub(super) shards: u32,
    /// How long a lease is held without being renewed.
    pub(super) duration: Duration,
}

impl Terms {
    /// How old a lease may get before it is renewed.
    fn renew_after(self) -> Duration {
        self.duration / 3
    }
}

/// What `me` does now.
pub(super) fn plan(now: Instant, me: &str, view: &View, terms: Terms) -> Vec<Step> {
    let age = |seen: &Seen| now.saturating_duration_since(seen.since);
    let mut steps = Vec::new();
    if view.members.get(me).is_none_or(|seen| age(seen) >= terms.renew_after()) {
        steps.push(Step::Beat);
    }
    let mut alive: BTreeSet<&str> = view
        .members
        .iter()
        .filter(|(_, seen)| seen.holder.is_some() && age(seen) < terms.duration)
        .map(|(name, _)| name.as_str())
        .collect();
    alive.insert(me);
    for (shard, rightful) in (0..).zip(shares(&alive, terms.shards)) {
        let mine = rightful == me;
        match view.shards.get(&shard) {
            None if mine => steps.push(Step::Take { shard, version: None }),
            Some(seen) if seen.holder.as_deref() == Some(me) => {
                let version = seen.version.clone();
                if !mine {
                    steps.push(Step::Release { shard, version });
                } else if age(seen) >= terms.renew_after() {
                    steps.push(Step::Renew { shard, version });
                }
            }
            Some(seen) if mine && (seen.holder.is_none() || age(seen) >= terms.duration) => {
                let version = Some(seen.version.clone());
                steps.push(Step::Take { shard, version });
            }
            None | Some(_) => {}
        }
    }
    let long = terms.duration * 10;
    let gone = view
        .members
        .iter()
        .filter(|(name, seen)| *name != me && age(seen) >= long);
    steps.extend(gone.map(|(name, _)| Step::Bury { member: name.clone() }));
    steps
}

/// Who should hold each shard: the host that suits it best (rendezvous hashing), as long as it
/// has not its share already, so that shares differ by at most one and few shards move when a host comes or goes.
fn shares<'a>(alive: &BTreeSet<&'a str>, shards: u32) -> Vec<&'a str> {
    let hosts = u32::try_from(alive.len()).unwrap_or(u32::MAX).max(1);
    let mut extra = shards % hosts;
    let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
    (0..shards)
        .filter_map(|shard| {
            let mut by_score: Vec<_> = alive.iter().map(|host| (score(host, shard), *host)).collect();
            by_score.sort_unstable();
            let chosen = by_score.into_iter().rev().map(|(_, host)| host).find(|host| {
                let has = taken.get(host).copied().unwrap_or_default();
                has < shards / hosts || (has == shards / hosts && extra > 0)
            })?;
            let has = taken.entry(chosen).or_default();
            if *has == shards / hosts {
                extra -= 1;
            }
            *has += 1;
            Some(chosen)
        })
        .collect()
}

fn score(host: &str, shard: u32) -> u64 {
    hash(&[host.as_bytes(), &shard.to_be_bytes()])
}

/// The first eight bytes of the SHA-256 of the parts: the same in every version of berth.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms {
        shards: 6,
        duration: Duration::from_secs(9),
    };

    fn seen(holder: Option<&str>, since: Instant) -> Seen {
        Seen {
            holder: holder.map(str::to_owned),
            version: "7".to_owned(),
            since,
        }
    }

    fn of(shards: impl IntoIterator<Item = (u32, Seen)>, members: &[(&str, Instant)]) -> View {
        View {
            members: members
                .iter()
                .map(|(name, since)| ((*name).to_owned(), seen(Some(name), *since)))
                .collect(),
            shards: shards.into_iter().collect(),
        }
    }

    #[test]
    fn a_host_alone_takes_every_shard() {
        let now = Instant::now();
        let steps = plan(now, "a", &View::default(), TERMS);
        let mut all = vec![Step::Beat];
        all.extend((0..6).map(|shard| Step::Take { shard, version: None }));
        assert_eq!(steps, all);
    }

    #[test]
    fn what_is_held_and_fresh_is_left_alone() {
        let now = Instant::now();
        let view = of((0..6).map(|shard| (shard, seen(Some("a"), now))), &[("a", now)]);
        assert_eq!(plan(now, "a", &view, TERMS), []);
        let later = now + TERMS.renew_after();
        assert_eq!(plan(later, "a", &view, TERMS).len(), 7, "all are renewed in time");
    }

    #[test]
    fn a_newcomer_is_given_its_share_and_takes_nothing_that_is_held() {
        let now = Instant::now();
        let view = of(
            (0..6).map(|shard| (shard, seen(Some("a"), now))),
            &[("a", now), ("b", now)],
        );
        let given = plan(now, "a", &view, TERMS);
        assert_eq!(given.len(), 3);
        assert!(given.iter().all(|step| matches!(step, Step::Release { .. })));
        assert_eq!(plan(now, "b", &view, TERMS), []);
        // Once given back, they are taken.
        let mut after = view;
        for step in &given {
            if let Step::Release { shard, .. } = step {
                after.shards.insert(*shard, seen(None, now));
            }
        }
        assert_eq!(plan(now, "b", &after, TERMS).len(), 3);
    }

    #[test]
    fn the_shards_of_a_dead_host_are_taken_when_its_leases_have_not_changed_for_their_duration() {
        let now = Instant::now();
        let view = of(
            (0..6).map(|shard| (shard, seen(Some("b"), now))),
            &[("a", now), ("b", now)],
        );
        let early = plan(now + TERMS.duration - Duration::from_millis(1), "a", &view, TERMS);
        assert!(!early.iter().any(|step| matches!(step, Step::Take { .. })), "{early:?}");
        let late = plan(now + TERMS.duration, "a", &view, TERMS);
        let taken = late.iter().filter(|step| matches!(step, Step::Take { .. })).count();
        assert_eq!(taken, 6);
    }

    #[test]
    fn a_host_that_said_goodbye_counts_no_more() {
        let now = Instant::now();
        let mut view = of((0..6).map(|shard| (shard, seen(None, now))), &[("a", now), ("b", now)]);
        view.members.insert("b".to_owned(), seen(None, now));
        assert_eq!(plan(now, "a", &view, TERMS).len(), 6);
    }

    #[test]
    fn leases_of_hosts_long_gone_are_removed() {
        let now = Instant::now();
        let view = of(
            (0..6).map(|shard| (shard, seen(Some("a"), now))),
            &[("a", now), ("b", now)],
        );
        let later = plan(now + TERMS.duration * 10, "a", &view, TERMS);
        assert!(later.contains(&Step::Bury { member: "b".to_owned() }));
    }

    proptest! {
        #[test]
        fn shares_are_fair_and_complete(hosts in 1_usize..12, shards in 1_u32..64) {
            let names: Vec<_> = (0..hosts).map(|host| format!("berth-{host}")).collect();
            let alive: BTreeSet<_> = names.iter().map(String::as_str).collect();
            let given = shares(&alive, shards);
            prop_assert_eq!(given.len(), shards as usize);
            let counts: Vec<_> = alive.iter().map(|host| given.iter().filter(|one| *one == host).count()).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{:?}", counts);
        }

        /// Whatever two hosts believe of each other, what one takes the other did not hold at that time.
        #[test]
        fn nothing_that_is_held_and_alive_is_taken(ages in proptest::collection::vec(0_u64..20, 6), others in 0_usize..3) {
            let start = Instant::now();
            let now = start + Duration::from_secs(20);
            let shards = (0..).zip(ages.iter().map(|age| seen(Some("b"), now.checked_sub(Duration::from_secs(*age)).unwrap_or(start))));
            let members: Vec<_> = ["b", "c", "d"].into_iter().take(others).map(|name| (name, now)).collect();
            for step in plan(now, "a", &of(shards, &members), TERMS) {
                if let Step::Take { shard, .. } = step {
                    prop_assert!(ages[shard as usize] >= TERMS.duration.as_secs());
                }
            }
        }
    }
}
