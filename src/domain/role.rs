//! Roles: for whom a machine keeps some of its resources, and who may use which.
//!
//! A reservation is static: the agent says it at its start. What is not reserved is of role `*`
//! and open to every app that accepts `*`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::resources::{PortRanges, Resources, Scalar};

/// The role of resources that are kept for nobody.
pub const ANY_ROLE: &str = "*";

/// Longest name of a role, in bytes.
pub const ROLE_BYTES_MAX: usize = 128;

/// Resources by role; `*` is not among them.
pub type Reserved = BTreeMap<String, Resources>;

/// What is wrong with the name of a role, for people; nothing when it is good.
/// Source: Mesos, "Roles": invalid role names.
pub fn role_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a role's name must not be empty");
    }
    if name.len() > ROLE_BYTES_MAX {
        return Some("a role's name must not be longer than 128 bytes");
    }
    if matches!(name, "." | "..") || name.starts_with('-') {
        return Some("a role must not be called . or .. nor begin with -");
    }
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '(' | ')' | ';' | '*');
    let is_good = name == ANY_ROLE || !name.contains(is_bad);
    (!is_good).then_some("a role's name must not contain spaces, control characters or any of / ( ) ; *")
}

/// Whose resources an app may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Those of role `*`.
    pub unreserved: bool,
    /// Those that are kept for these.
    pub roles: BTreeSet<String>,
}

impl Accepted {
    /// Of these roles, `*` among them or not.
    pub fn of<'a>(roles: impl IntoIterator<Item = &'a str>) -> Self {
        let mut roles: BTreeSet<String> = roles.into_iter().map(str::to_owned).collect();
        let unreserved = roles.remove(ANY_ROLE);
        Self { unreserved, roles }
    }

    /// Whether a role is among them.
    pub fn contains(&self, role: &str) -> bool {
        if role == ANY_ROLE { self.unreserved } else { self.roles.contains(role) }
    }

    /// For people: `*, db`.
    pub fn list(&self) -> String {
        let any = self.unreserved.then_some(ANY_ROLE);
        any.into_iter().chain(self.roles.iter().map(String::as_str)).collect::<Vec<_>>().join(", ")
    }
}

/// The sum over all roles.
pub fn sum(reserved: &Reserved) -> Resources {
    reserved.values().fold(Resources::default(), |sum, part| sum.plus(part))
}

/// Adds what `more` has, role by role.
pub fn add(to: &mut Reserved, more: &Reserved) {
    for (role, part) in more {
        let entry = to.entry(role.clone()).or_default();
        *entry = entry.plus(part);
    }
}

/// Takes away what `less` has, role by role; roles of which nothing is left go.
pub fn subtract(from: &mut Reserved, less: &Reserved) {
    for (role, part) in less {
        if let Some(entry) = from.get_mut(role) {
            *entry = entry.minus(part);
        }
    }
    from.retain(|_, left| *left != Resources::default());
}

/// What one machine has spare, by who may use it. The parts add up to what the machine has spare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// For everybody who accepts `*`.
    pub unreserved: Resources,
    /// For apps of a role, by role. Every role that the machine keeps something for is there.
    pub reserved: Reserved,
}

impl Pools {
    /// Of a machine with `totals`, of which `reserved` is kept for roles. Its tasks hold `used`,
    /// of which `drawn` was given out of reservations; strangers hold the ports of `held`.
    ///
    /// A machine may have come back with less than its tasks hold. What they hold beyond the
    /// reservation of their role counts against what is unreserved, and what is beyond that
    /// against the other reservations in the order of their names: nothing is given twice.
    pub fn of(
        totals: &Resources,
        reserved: &Reserved,
        used: &Resources,
        drawn: &Reserved,
        held: &PortRanges,
    ) -> Self {
        let taken_ports = used.ports.plus(held);
        let amount = |of: Amount| {
            let has = |role: &str| reserved.get(role).map_or(Scalar::ZERO, |part| of.get(part));
            let kept = reserved.values().fold(Scalar::ZERO, |sum, part| sum.plus(of.get(part)));
            let out = drawn.values().fold(Scalar::ZERO, |sum, part| sum.plus(of.get(part)));
            let beyond =
                drawn.iter().fold(Scalar::ZERO, |sum, (role, part)| sum.plus(of.get(part).minus(has(role))));
            let claims = of.get(used).minus(out).plus(beyond);
            let open = of.get(totals).minus(kept);
            let mut debt = claims.minus(open);
            let left = reserved.iter().map(|(role, part)| {
                let spare = of.get(part).minus(drawn.get(role).map_or(Scalar::ZERO, |part| of.get(part)));
                let paid = spare.min(debt);
                debt = debt.minus(paid);
                spare.minus(paid)
            });
            (left.collect::<Vec<Scalar>>(), open.minus(claims))
        };
        let [cpus, mem, disk, gpus] = Amount::ALL.map(amount);
        let mut pools = Self {
            unreserved: Resources {
                cpus: cpus.1,
                mem: mem.1,
                disk: disk.1,
                gpus: gpus.1,
                ports: totals.ports.minus(&taken_ports),
            },
            reserved: Reserved::new(),
        };
        let amounts = cpus.0.into_iter().zip(mem.0).zip(disk.0.into_iter().zip(gpus.0));
        for ((role, part), ((cpus, mem), (disk, gpus))) in reserved.iter().zip(amounts) {
            pools.unreserved.ports = pools.unreserved.ports.minus(&part.ports);
            let ports = part.ports.minus(&taken_ports);
            pools.reserved.insert(role.clone(), Resources { cpus, mem, disk, gpus, ports });
        }
        pools
    }

    /// All that an app with these roles may use.
    pub fn open_to(&self, accepted: &Accepted) -> Resources {
        let none = Resources::default();
        let start = if accepted.unreserved { self.unreserved.clone() } else { none };
        let parts = self.reserved.iter().filter(|(role, _)| accepted.roles.contains(*role));
        parts.fold(start, |sum, (_, part)| sum.plus(part))
    }

    /// The same of an agent that has `spare` in all, and pools only where it keeps something for roles.
    pub fn open_of<'a>(
        pools: Option<&Self>,
        spare: &'a Resources,
        accepted: &Accepted,
    ) -> Cow<'a, Resources> {
        match pools {
            Some(pools) => Cow::Owned(pools.open_to(accepted)),
            None if accepted.unreserved => Cow::Borrowed(spare),
            None => Cow::Owned(Resources::default()),
        }
    }

    /// What of `need` is given out of which reservation: of those that are accepted the reserved
    /// ones first, in the order of their names; the rest is unreserved. One amount may come from
    /// several roles. Presumes that [`Pools::open_to`] contains the need.
    /// Source: Mesos `Resources::find`, which looks at a role's own before what is unreserved.
    pub fn draw(&self, need: &Resources, accepted: &Accepted) -> Reserved {
        let mut left = need.clone();
        let mut drawn = Reserved::new();
        for (role, pool) in self.reserved.iter().filter(|(role, _)| accepted.roles.contains(*role)) {
            let part = Resources {
                cpus: left.cpus.min(pool.cpus),
                mem: left.mem.min(pool.mem),
                disk: left.disk.min(pool.disk),
                gpus: left.gpus.min(pool.gpus),
                ports: left.ports.minus(&left.ports.minus(&pool.ports)),
            };
            left = left.minus(&part);
            if part != Resources::default() {
                drawn.insert(role.clone(), part);
            }
        }
        drawn
    }

    /// Whether `resources` are there, `drawn` of them out of reservations and the rest unreserved.
    pub fn contains(&self, resources: &Resources, drawn: &Reserved) -> bool {
        let sum = sum(drawn);
        let has_parts =
            drawn.iter().all(|(role, part)| self.reserved.get(role).is_some_and(|pool| pool.contains(part)));
        has_parts && resources.contains(&sum) && self.unreserved.contains(&resources.minus(&sum))
    }

    /// Takes out what was given.
    pub fn take(&mut self, resources: &Resources, drawn: &Reserved) {
        self.unreserved = self.unreserved.minus(&resources.minus(&sum(drawn)));
        for (role, part) in drawn {
            if let Some(pool) = self.reserved.get_mut(role) {
                *pool = pool.minus(part);
            }
        }
    }

    /// Whether somebody might find more in `other`.
    pub fn has_less_than(&self, other: &Self) -> bool {
        let none = Resources::default();
        !self.unreserved.contains(&other.unreserved)
            || other
                .reserved
                .iter()
                .any(|(role, pool)| !self.reserved.get(role).unwrap_or(&none).contains(pool))
    }
}

/// The resources that have amounts.
#[derive(Clone, Copy)]
enum Amount {
    Cpus,
    Mem,
    Disk,
    Gpus,
}

impl Amount {
    const ALL: [Self; 4] = [Self::Cpus, Self::Mem, Self::Disk, Self::Gpus];

    fn get(self, of: &Resources) -> Scalar {
        match self {
            Self::Cpus => of.cpus,
            Self::Mem => of.mem,
            Self::Disk => of.disk,
            Self::Gpus => of.gpus,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpus(amount: u64) -> Resources {
        Resources { cpus: Scalar::from_thousandths(amount), ..Resources::default() }
    }

    fn with_ports(amount: u64, from: u16, to: u16) -> Resources {
        Resources { ports: PortRanges::new([(from, to)]), ..cpus(amount) }
    }

    fn by_role(parts: &[(&str, u64)]) -> Reserved {
        parts.iter().map(|(role, amount)| ((*role).to_owned(), cpus(*amount))).collect()
    }

    /// Of `totals` cpus some are reserved, some used, and some of these drawn: `(unreserved, by role)`.
    #[track_caller]
    fn check(
        (totals, reserved): (u64, &[(&str, u64)]),
        (used, drawn): (u64, &[(&str, u64)]),
        (unreserved, pools): (u64, &[(&str, u64)]),
    ) {
        let held = PortRanges::default();
        let got = Pools::of(&cpus(totals), &by_role(reserved), &cpus(used), &by_role(drawn), &held);
        assert_eq!(got, Pools { unreserved: cpus(unreserved), reserved: by_role(pools) });
    }

    #[test]
    fn what_is_spare_adds_up_whatever_a_machine_came_back_with() {
        check((10, &[("db", 4)]), (5, &[("db", 3)]), (4, &[("db", 1)]));
        // Less is reserved than is drawn: the rest is paid out of what is unreserved.
        check((10, &[("db", 2)]), (5, &[("db", 3)]), (5, &[("db", 0)]));
        // The role is gone altogether.
        check((10, &[("ml", 2)]), (5, &[("db", 3)]), (3, &[("ml", 2)]));
        // More unreserved is used than there is: reservations pay, in the order of their names.
        check((6, &[("db", 2), ("ml", 2)]), (5, &[]), (0, &[("db", 0), ("ml", 1)]));
        check((2, &[("db", 2)]), (9, &[("db", 5)]), (0, &[("db", 0)]));
    }

    #[test]
    fn reserved_comes_first_and_one_amount_may_come_from_several_roles() {
        let pools = Pools { unreserved: cpus(4), reserved: by_role(&[("db", 2), ("ml", 1)]) };
        let accepted = |roles: &[&str]| Accepted::of(roles.iter().copied());
        assert_eq!(pools.draw(&cpus(3), &accepted(&["*", "db"])), by_role(&[("db", 2)]));
        assert_eq!(pools.draw(&cpus(1), &accepted(&["*", "db"])), by_role(&[("db", 1)]));
        assert_eq!(pools.draw(&cpus(1), &accepted(&["*"])), by_role(&[]));
        assert_eq!(pools.draw(&cpus(3), &accepted(&["db", "ml"])), by_role(&[("db", 2), ("ml", 1)]));
        assert_eq!(pools.open_to(&accepted(&["*", "ml"])), cpus(5));
        assert_eq!(pools.open_to(&accepted(&["other"])), cpus(0));
    }

    #[test]
    fn each_port_is_of_one_role() {
        let reserved = Reserved::from([("db".to_owned(), with_ports(0, 5_000, 5_004))]);
        let totals =
            Resources { ports: PortRanges::new([(5_000, 5_004), (31_000, 31_004)]), ..Resources::default() };
        let used = with_ports(0, 5_001, 5_001);
        let held = PortRanges::of([31_000]);
        let pools = Pools::of(&totals, &reserved, &used, &Reserved::new(), &held);
        assert_eq!(pools.unreserved.ports.to_string(), "[31001-31004]");
        assert_eq!(pools.reserved["db"].ports.to_string(), "[5000-5000,5002-5004]");
        let need = Resources { ports: PortRanges::of([5_000, 31_004]), ..Resources::default() };
        let drawn = pools.draw(&need, &Accepted::of(["*", "db"]));
        assert_eq!(drawn["db"].ports.to_string(), "[5000-5000]");
        assert!(pools.contains(&need, &drawn));
        assert!(!pools.contains(&need, &Reserved::new()), "5000 is not for everybody");
    }

    #[test]
    fn names_of_roles() {
        for good in ["*", "db", "slave_public", "a.b", "x-y"] {
            assert_eq!(role_fault(good), None, "{good:?}");
        }
        for bad in ["", ".", "..", "-a", "a b", "a/b", "a(b", "a*", "a\n", &"x".repeat(129)] {
            assert!(role_fault(bad).is_some(), "{bad:?}");
        }
    }

    prop_compose! {
        fn any_parts()(parts in proptest::collection::btree_map("[a-c]", 0u64..9, 0..4)) -> Reserved {
            parts.into_iter().map(|(role, amount)| (role, cpus(amount))).collect()
        }
    }

    proptest! {
        /// Whatever a machine came back with: the pools add up to what it has spare, and what is
        /// drawn from them is there.
        #[test]
        fn pools_add_up_and_hold_what_is_drawn(
            reserved in any_parts(), more in 0u64..9, used in any_parts(), plain in 0u64..9,
            need in 0u64..12, roles in proptest::collection::btree_set("[a-d*]", 0..4),
        ) {
            let totals = sum(&reserved).plus(&cpus(more));
            let all_used = sum(&used).plus(&cpus(plain));
            let held = PortRanges::default();
            let mut pools = Pools::of(&totals, &reserved, &all_used, &used, &held);
            let all = sum(&pools.reserved).plus(&pools.unreserved);
            prop_assert_eq!(&all, &totals.minus(&all_used));
            let accepted = Accepted::of(roles.iter().map(String::as_str));
            let open = pools.open_to(&accepted);
            if open.contains(&cpus(need)) {
                let drawn = pools.draw(&cpus(need), &accepted);
                prop_assert!(drawn.keys().all(|role| accepted.contains(role)));
                prop_assert!(pools.contains(&cpus(need), &drawn));
                prop_assert!(accepted.unreserved || sum(&drawn) == cpus(need));
                let before = pools.clone();
                pools.take(&cpus(need), &drawn);
                prop_assert_eq!(sum(&pools.reserved).plus(&pools.unreserved), all.minus(&cpus(need)));
                prop_assert_eq!(pools.has_less_than(&before), need > 0);
                prop_assert!(!before.has_less_than(&pools));
            }
        }
    }
}
