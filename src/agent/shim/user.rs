//! Who a task runs as: looks a user up by name.
//!
//! Way in: [`User::named`]. Reads the system's files, then asks `getent`, which also
//! knows users of directories such as LDAP.

use std::fs;
use std::process::Command;

use rustix::process::{Gid, Uid};

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Number of the user.
    pub(crate) uid: Uid,
    /// Number of the first group.
    pub(crate) gid: Gid,
    /// Every group, the first among them.
    pub(crate) groups: Vec<Gid>,
}

impl User {
    /// Looks up `name`; says `No such user '<name>'` when there is none. Source: spec 3.4.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        Self::among(name, &passwd, &groups)
            .or_else(|| Self::among(name, &getent("passwd", Some(name)), &getent("group", None)))
            .ok_or_else(|| format!("No such user '{name}'"))
    }

    fn among(name: &str, passwd: &str, groups: &str) -> Option<Self> {
        let fields: Vec<&str> = passwd
            .lines()
            .map(|line| line.split(':').collect())
            .find(|fields: &Vec<&str>| fields.first() == Some(&name))?;
        let uid = Uid::from_raw(fields.get(2)?.parse().ok()?);
        let gid = Gid::from_raw(fields.get(3)?.parse().ok()?);
        let member_of = groups.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let number = fields.nth(2)?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == name).then(|| Gid::from_raw(number))
        });
        let groups = std::iter::once(gid).chain(member_of.filter(|group| *group != gid)).collect();
        Some(Self { uid, gid, groups })
    }
}

fn getent(database: &str, key: Option<&str>) -> String {
    let output = Command::new("getent").arg(database).args(key).output();
    output.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_first_group_and_those_that_name_it() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/sh\n";
        let groups = "root:x:0:\nweb:x:44:web\nlog:x:7:adm,web\nadm:x:8:webber\n";
        let user = User::among("web", passwd, groups).unwrap();
        assert_eq!((user.uid, user.gid), (Uid::from_raw(33), Gid::from_raw(44)));
        assert_eq!(user.groups, [Gid::from_raw(44), Gid::from_raw(7)]);
    }

    #[test]
    fn an_unknown_user_is_named() {
        assert_eq!(
            User::named("nobody-here-has-this"),
            Err("No such user 'nobody-here-has-this'".to_owned())
        );
    }
}
