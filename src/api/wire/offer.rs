//! `GET /v1/offers`: what every agent has to spare, in Mesos' words.

use serde_json::{Map, Value, json};

use super::decode::into_map;
use super::number::scalar;
use crate::domain::{ANY_ROLE, AttributeValue, Offer, PortRanges, Resources, Scalar};
use crate::scheduler::Offers;

/// All offers at one state index, and agents that offer nothing now though they count as there.
pub fn offers_json(index: u64, all: &Offers) -> Value {
    let withheld = all.withheld.iter().map(|withheld| {
        json!({
            "agentId": withheld.agent.as_str(),
            "hostname": withheld.hostname,
            "why": withheld.why,
        })
    });
    json!({
        "index": index,
        "offers": all.offers.iter().map(offer_json).collect::<Vec<_>>(),
        "withheld": withheld.collect::<Vec<_>>(),
    })
}

/// One offer; all five resources are listed for `*` and for each role that the agent keeps
/// something for, even when nothing is left of them.
pub fn offer_json(offer: &Offer) -> Value {
    let parts = offer.reserved.iter().map(|(role, spare)| (role.as_str(), spare));
    let resources: Vec<Value> = std::iter::once((ANY_ROLE, &offer.spare))
        .chain(parts)
        .flat_map(|(role, spare)| part(role, spare))
        .collect();
    let attributes: Vec<Value> =
        offer.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    json!({
        "id": offer.id.as_str(),
        "agentId": offer.agent.as_str(),
        "hostname": offer.hostname,
        "role": ANY_ROLE,
        "resources": resources,
        "attributes": attributes,
    })
}

fn part(role: &str, spare: &Resources) -> Vec<Value> {
    let amount = |name: &str, amount: Scalar| json!({"name": name, "role": role, "scalar": scalar(amount)});
    vec![
        amount("cpus", spare.cpus),
        amount("mem", spare.mem),
        amount("disk", spare.disk),
        amount("gpus", spare.gpus),
        json!({"name": "ports", "role": role, "ranges": port_ranges(&spare.ports)}),
    ]
}

fn port_ranges(ports: &PortRanges) -> Value {
    ports.ranges().iter().map(|(from, to)| json!({"begin": from, "end": to})).collect()
}

fn attribute(name: &str, value: &AttributeValue) -> Value {
    let mut map: Map<String, Value> = into_map(json!({"name": name}));
    let (kind, value) = match value {
        AttributeValue::Text(text) => ("text", json!(text)),
        AttributeValue::Scalar(thousandths) => ("scalar", thousandths_json(*thousandths)),
        AttributeValue::Ranges(ranges) => {
            ("ranges", ranges.iter().map(|(from, to)| json!({"begin": from, "end": to})).collect())
        }
        AttributeValue::Set(items) => ("set", json!(items)),
    };
    map.insert(kind.to_owned(), value);
    Value::Object(map)
}

fn thousandths_json(thousandths: i64) -> Value {
    if thousandths % 1000 == 0 {
        return json!(thousandths / 1000);
    }
    #[expect(clippy::cast_precision_loss, reason = "attributes stay below 10^15 thousandths")]
    let decimal = thousandths as f64 / 1000.0;
    json!(decimal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AgentId, Attributes, OfferId};
    use crate::scheduler::Withheld;

    #[test]
    fn an_offer_lists_resources_and_attributes_in_their_own_kinds() {
        let attributes: Attributes = [("rack", "r1"), ("level", "1.5"), ("jdk", "[6-7]"), ("gpu", "{0,1}")]
            .map(|(name, value)| (name.to_owned(), AttributeValue::parse(value)))
            .into();
        let offer = Offer {
            id: OfferId::new("a1-7"),
            agent: AgentId::new("a1"),
            hostname: "host1".to_owned(),
            reserved: Default::default(),
            spare: Resources {
                cpus: Scalar::from_thousandths(1500),
                mem: Scalar::from_thousandths(64_000),
                ports: PortRanges::new([(31000, 31005), (31010, 31010)]),
                ..Resources::default()
            },
            attributes,
            has_docker: true,
        };
        let withheld = Withheld {
            agent: AgentId::new("a2"),
            hostname: "host2".to_owned(),
            why: "it is away".to_owned(),
        };
        assert_eq!(
            offers_json(7, &Offers { offers: vec![offer], withheld: vec![withheld] }),
            json!({"index": 7, "offers": [{
                "id": "a1-7", "agentId": "a1", "hostname": "host1", "role": "*",
                "resources": [
                    {"name": "cpus", "role": "*", "scalar": 1.5},
                    {"name": "mem", "role": "*", "scalar": 64},
                    {"name": "disk", "role": "*", "scalar": 0},
                    {"name": "gpus", "role": "*", "scalar": 0},
                    {"name": "ports", "role": "*",
                     "ranges": [{"begin": 31000, "end": 31005}, {"begin": 31010, "end": 31010}]},
                ],
                "attributes": [
                    {"name": "gpu", "set": ["0", "1"]},
                    {"name": "jdk", "ranges": [{"begin": 6, "end": 7}]},
                    {"name": "level", "scalar": 1.5},
                    {"name": "rack", "text": "r1"},
                ],
            }], "withheld": [
                {"agentId": "a2", "hostname": "host2", "why": "it is away"},
            ]})
        );
    }

    #[test]
    fn an_offer_lists_each_role_apart() {
        let part = Resources { cpus: Scalar::from_thousandths(500), ..Resources::default() };
        let offer = Offer {
            id: OfferId::new("a1-7"),
            agent: AgentId::new("a1"),
            hostname: "host1".to_owned(),
            spare: Resources { cpus: Scalar::from_thousandths(1_000), ..Resources::default() },
            reserved: [("db".to_owned(), part)].into(),
            attributes: Attributes::new(),
            has_docker: true,
        };
        let body = offer_json(&offer);
        let resources = body["resources"].as_array().unwrap();
        assert_eq!(resources.len(), 10);
        assert_eq!(resources[0], json!({"name": "cpus", "role": "*", "scalar": 1}));
        assert_eq!(resources[5], json!({"name": "cpus", "role": "db", "scalar": 0.5}));
        assert_eq!(resources[9], json!({"name": "ports", "role": "db", "ranges": []}));
    }
}
