//! Spec 4.4, row by row, and what it says about values and about which instances count.

use super::*;
use crate::domain::{AttributeValue, Timestamp};
use crate::testkit::{Playground, an_agent, an_app};

/// An agent whose `field` is `value`; without a value it has no such fact.
fn agent_with(field: &str, value: Option<&str>) -> AgentInfo {
    let mut info = an_agent("a1").info();
    let Some(value) = value else { return info };
    match field {
        "hostname" | "@hostname" => info.hostname = value.to_owned(),
        field => {
            let name = field.trim_start_matches('@').to_owned();
            info.attributes.insert(name, AttributeValue::parse(value));
        }
    }
    info
}

fn rule(field: &str, operator: &str, operand: Option<&str>, instances: u32) -> Rules {
    let constraint = Constraint {
        field: field.to_owned(),
        operator: Operator::parse(operator).unwrap(),
        operand: operand.map(str::to_owned),
    };
    Rules(vec![Rule::of(&constraint, u64::from(instances))])
}

/// One row: rule, the agent's value (`-`: none), values of placed instances, the answer.
#[track_caller]
fn check(rule_text: (&str, &str, &str), value: &str, placed: &str, wanted: bool) {
    check_of(rule_text, value, placed, 5, wanted);
}

#[track_caller]
fn check_of(
    (field, operator, operand): (&str, &str, &str),
    value: &str,
    placed: &str,
    instances: u32,
    wanted: bool,
) {
    let operand = (operand != "-").then_some(operand);
    let mut rules = rule(field, operator, operand, instances);
    for value in placed.split_whitespace() {
        rules.note(&agent_with(field, Some(value)));
    }
    let agent = agent_with(field, (value != "-").then_some(value));
    assert_eq!(
        rules.allow(&agent),
        wanted,
        "[{field}, {operator}, {operand:?}] on {value:?} beside {placed:?}"
    );
    assert_eq!(rules.objection(&agent).is_none(), wanted, "who objects says so");
}

#[test]
fn cluster_keeps_instances_on_one_value() {
    check(("@hostname", "CLUSTER", "-"), "foohost", "", true);
    check(("@hostname", "CLUSTER", "right.com"), "wrong.com", "", false);
    check(("@hostname", "CLUSTER", "right.com"), "right.com", "", true);
    check(("rackid", "CLUSTER", "-"), "rack-1", "", true);
    check(("rackid", "CLUSTER", ""), "rack-1", "rack-1 rack-1", true);
    check(("rackid", "CLUSTER", "-"), "rack-2", "rack-1 rack-1", false);
    check(("rackid", "CLUSTER", "-"), "-", "", false);
    check(("jdk", "CLUSTER", "7"), "6", "7", false);
    check(("jdk", "CLUSTER", "7"), "7", "7", true);
    check(("jdk", "CLUSTER", "[6-7]"), "[5-7]", "[6-7]", false);
    check(("jdk", "CLUSTER", "[6-7]"), "[6-7]", "[6-7]", true);
    check(("gpu", "CLUSTER", "{0,1}"), "-", "{0,1}", false);
    check(("gpu", "CLUSTER", "{0,1}"), "{1,0}", "{0,1}", true);
}

#[test]
fn unique_takes_each_value_once() {
    check(("@hostname", "UNIQUE", "-"), "host2", "", true);
    check(("@hostname", "UNIQUE", "-"), "host4", "host1 host2 host3", true);
    check(("@hostname", "UNIQUE", "-"), "host2", "host1 host2 host3", false);
    check(("hostname", "UNIQUE", "-"), "host2", "host1 host2 host3", false);
    check(("rackid", "UNIQUE", "-"), "rack-1", "", true);
    check(("rackid", "UNIQUE", "-"), "rack-3", "rack-1 rack-2", true);
    check(("rackid", "UNIQUE", "-"), "rack-1", "rack-1 rack-2", false);
    check(("rackid", "UNIQUE", "-"), "-", "", false);
    check(("@region", "UNIQUE", "-"), "region1", "region1", false);
    check(("@region", "UNIQUE", "-"), "region2", "region1", true);
    check(("@zone", "UNIQUE", "-"), "zone1", "zone1", false);
    check(("@zone", "UNIQUE", "-"), "zone2", "zone1", true);
}

#[test]
fn like_and_unlike_match_the_whole_value() {
    check(("jdk", "LIKE", "7"), "6", "", false);
    check(("jdk", "LIKE", "7"), "7", "", true);
    check(("jdk", "LIKE", "7"), "17", "", false);
    check(("jdk", "LIKE", "7"), "-", "", false);
    check(("jdk", "UNLIKE", "7"), "6", "", true);
    check(("jdk", "UNLIKE", "7"), "7", "", false);
    check(("jdk", "UNLIKE", "7"), "-", "", true);
    check(("jdk", "LIKE", r"\[6-7\]"), "[5-7]", "", false);
    check(("jdk", "LIKE", r"\[6-7\]"), "[6-7]", "", true);
    check(("jdk", "LIKE", r"\[6-7\]"), "-", "", false);
    check(("jdk", "UNLIKE", r"\[6-7\]"), "[6-7]", "", false);
    check(("jdk", "UNLIKE", r"\[6-7\]"), "5-7", "", true);
    check(("jdk", "UNLIKE", r"\[6-7\]"), "-", "", true);
    check(("gpu", "LIKE", r"\{0,1\}"), "{2,1}", "", false);
    check(("gpu", "LIKE", r"\{0,1\}"), "{1,0}", "", true);
    check(("gpu", "LIKE", r"\{0,1\}"), "-", "", false);
    check(("gpu", "UNLIKE", r"\{0,1\}"), "{0,1}", "", false);
    check(("gpu", "UNLIKE", r"\{0,1\}"), "{1,2}", "", true);
    check(("gpu", "UNLIKE", r"\{0,1\}"), "-", "", true);
    // Empty patterns pass validation and then help nobody.
    check(("jdk", "LIKE", ""), "7", "", false);
    check(("jdk", "UNLIKE", ""), "7", "", false);
}

#[test]
fn is_compares_numbers_as_numbers() {
    check(("@hostname", "IS", "righthost.com"), "righthost.com", "", true);
    check(("@hostname", "IS", "righthost.com"), "other.com", "", false);
    check(("number", "IS", "1.0"), "1", "", true);
    check(("number", "IS", "1"), "1.0", "", true);
    check(("number", "IS", "1.0001"), "1.0", "", true);
    check(("number", "IS", "1.0005"), "1.0", "", true);
    check(("number", "IS", "1.00051"), "1.0", "", false);
    check(("number", "IS", "1.001"), "1.0", "", false);
    check(("number", "IS", "1"), "-", "", false);
    check(("name", "IS", "1."), "1.0", "", false);
    check(("name", "IS", "v1.2/3_4"), "v1.2/3_4", "", true);
}

#[test]
fn max_per_allows_so_many_on_each_value() {
    check(("@hostname", "MAX_PER", "2"), "host1", "", true);
    check(("@hostname", "MAX_PER", "2"), "host1", "host1", true);
    check(("@hostname", "MAX_PER", "2"), "host2", "host1 host1", true);
    check(("@hostname", "MAX_PER", "2"), "host1", "host1 host1 host2", false);
    check(("@hostname", "MAX_PER", "2"), "host3", "host1 host1 host2 host1", true);
    check(("rackid", "MAX_PER", "2"), "1", "1 2", true);
    check(("rackid", "MAX_PER", "2"), "1", "1 2 1", false);
    check(("rackid", "MAX_PER", "2"), "-", "", false);
    check(("rackid", "MAX_PER", "-1"), "1", "", false);
}

#[test]
fn group_by_with_a_number_shares_out_and_opens_no_further_group() {
    let group = |groups, value, placed, wanted| check(("rackid", "GROUP_BY", groups), value, placed, wanted);
    group("2", "r1", "", true);
    group("2", "r1", "r1 r1", true);
    group("4", "r1", "r1", true);
    group("2", "r1", "r1 r1 r1", false);
    group("4", "r1", "r1 r1", false);
    group("2", "r2", "r1", true);
    group("4", "r2", "r1 r1 r2", false);
    group("2", "r2", "r1 r1 r1 r2", true);
    group("2", "r3", "r1 r2", false);
    group("2", "-", "", false);
    group("3", "r1", "", true);
    group("3", "r2", "r1", true);
    group("3", "r3", "r1 r2", true);
    group("3", "r1", "r1", true);
}

#[test]
fn group_by_without_a_number_fills_the_least_used_first() {
    let group = |value, placed, wanted| check(("rackid", "GROUP_BY", "-"), value, placed, wanted);
    group("r1", "", true);
    group("r1", "r1", true);
    group("r2", "r1", true);
    group("r1", "r1 r2", true);
    group("r1", "r1 r1 r2", false);
    group("r1", "r1 r2 r3", true);
    group("r2", "r1 r2 r3 r1", true);
    group("r3", "r1 r2 r3 r1 r2", true);
    group("r2", "r1 r2 r3 r1 r2", false);
    group("-", "", false);
    check(("hostname", "GROUP_BY", "0"), "host3", "host1 host1 host2", true);
    check(("hostname", "GROUP_BY", "0"), "host1", "host1 host1 host2 host3", false);
}

#[test]
fn every_rule_has_to_hold() {
    let both =
        Rules([rule("rackid", "LIKE", Some("r[12]"), 1).0, rule("@hostname", "UNIQUE", None, 1).0].concat());
    let mut agent = agent_with("rackid", Some("r1"));
    assert!(both.allow(&agent));
    let mut placed = both.clone();
    placed.note(&agent);
    assert_eq!(
        placed.objection(&agent).unwrap(),
        r#"["@hostname","UNIQUE"]: @hostname "a1.local" has 1 already"#
    );
    agent.attributes.insert("rackid".into(), AttributeValue::parse("r3"));
    assert_eq!(both.objection(&agent).unwrap(), r#"["rackid","LIKE","r[12]"]: rackid is "r3""#);
    agent.attributes.clear();
    assert_eq!(
        both.objection(&agent).unwrap(),
        r#"["rackid","LIKE","r[12]"] needs rackid, which the agent does not have"#
    );
}

/// Who is counted, seen through UNIQUE on the only agent.
#[track_caller]
fn check_counted(ground: &Playground, app: &crate::testkit::AppBuilder, wanted: bool) {
    let content = ground.state.current(&app.id()).unwrap();
    let agent = &ground.state.agents.values().next().unwrap().info;
    assert_eq!(!Rules::of(&ground.state, content, None).allow(agent), wanted);
}

#[test]
fn instances_count_while_they_are_known_to_be_there() {
    let app = an_app("/web").constraint("hostname", "UNIQUE", None);
    let mut ground = Playground::with_agents(1);
    ground.put(&app);
    check_counted(&ground, &app, false);
    let waiting = ground.create("/web", 1).remove(0);
    check_counted(&ground, &app, false);
    ground.place();
    check_counted(&ground, &app, true);
    ground.say(&waiting, crate::domain::TaskState::Running);
    check_counted(&ground, &app, true);
    ground.agent_lost("a1");
    check_counted(&ground, &app, false);
    ground.register("a1");
    check_counted(&ground, &app, true);
    ground.say(&waiting, crate::domain::TaskState::Failed);
    check_counted(&ground, &app, false);
}

#[test]
fn an_instance_that_was_given_up_counts_until_it_is_forgotten() {
    let app = an_app("/web").constraint("hostname", "UNIQUE", None);
    let mut ground = Playground::with_agents(1);
    ground.put(&app);
    let id = ground.run_one("/web");
    ground.agent_lost("a1");
    let now = ground.now();
    let inactive = crate::state::Command::MarkInactive { instances: vec![id.clone()] };
    ground.record(vec![inactive]);
    assert!(now > Timestamp::default());
    check_counted(&ground, &app, true);
    ground.record(vec![crate::state::Command::Expunge { instances: vec![id] }]);
    check_counted(&ground, &app, false);
}

#[test]
fn instances_that_an_upgrade_replaces_do_not_count_and_scaled_ones_do() {
    let app = an_app("/web").constraint("hostname", "UNIQUE", None).instances(1);
    let mut ground = Playground::with_agents(1);
    ground.put(&app);
    ground.run_one("/web");
    ground.put(&app.clone().instances(3));
    check_counted(&ground, &app, true);
    ground.put(&app.clone().cmd("another"));
    check_counted(&ground, &app, false);
}
