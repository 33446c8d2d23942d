//! `kubernetes_vnodes.info`: the nodes that CLUES may power on, a JSON list of objects with a `name`.

use serde_json::{Map, Value};

use super::{NodeName, NodeSize};

/// The most nodes that a file may list.
const NODES_MAX: usize = 2_000;

/// Why the file can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VnodesError {
    /// It is not a JSON list of objects with a name.
    #[error("it is not a JSON list of nodes with names")]
    NotAList,
    /// Its names don't count from 1, as the names that IM gives do.
    #[error("its nodes are not numbered from 1 on: {name:?} stands at place {place}")]
    NotNumbered {
        /// The first name that is not as expected.
        name: String,
        /// Its place, from 1.
        place: usize,
    },
}

/// The nodes of the file, with everything that stands there.
#[derive(Clone, Debug, PartialEq)]
pub struct Vnodes(Vec<Map<String, Value>>);

impl Vnodes {
    /// Reads the file.
    ///
    /// # Errors
    /// [`VnodesError::NotAList`].
    pub fn parse(text: &str) -> Result<Self, VnodesError> {
        let list: Vec<Map<String, Value>> =
            serde_json::from_str(text).map_err(|_content| VnodesError::NotAList)?;
        let named = |node: &Map<String, Value>| {
            let name = node.get("name").and_then(Value::as_str);
            name.is_some_and(|name| NodeName::parse(name).is_ok())
        };
        if list.len() > NODES_MAX || !list.iter().all(named) {
            return Err(VnodesError::NotAList);
        }
        Ok(Self(list))
    }

    /// The file's new text.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(&self.0).unwrap_or_default() + "\n"
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> Vec<NodeName> {
        let name = |node: &Map<String, Value>| {
            let text = node.get("name").and_then(Value::as_str)?;
            NodeName::parse(text).ok()
        };
        self.0.iter().filter_map(name).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The nodes with a size of their own, for which `plugin-kubernetes.cfg` does not count.
    pub fn own_sizes(&self) -> Vec<NodeName> {
        let own =
            |node: &&Map<String, Value>| node.contains_key("cpu") || node.contains_key("memory");
        let names = self.0.iter().filter(own).filter_map(|node| {
            let text = node.get("name").and_then(Value::as_str)?;
            NodeName::parse(text).ok()
        });
        names.collect()
    }

    /// Gives the nodes that have a size of their own another one.
    #[must_use]
    pub fn with_size(mut self, size: NodeSize) -> Self {
        for node in &mut self.0 {
            for (key, number) in [("cpu", size.slots), ("memory", size.memory)] {
                if let Some(value) = node.get_mut(key) {
                    // A number stays a number and a text a text, as CLUES reads both.
                    *value = if value.is_string() {
                        number.to_string().into()
                    } else {
                        number.into()
                    };
                }
            }
        }
        self
    }

    /// The same with another number of nodes: the last ones go, new ones are like the last one.
    ///
    /// # Errors
    /// [`VnodesError::NotNumbered`] when the names don't count from 1: IM would name others.
    pub fn with_count(mut self, count: usize) -> Result<Self, VnodesError> {
        let (before, after) = self.pattern()?;
        let like = self.0.last().cloned().unwrap_or_default();
        self.0.truncate(count);
        for number in self.0.len() + 1..=count {
            let mut node = like.clone();
            // The name stands first, wherever it stood.
            node.shift_remove("name");
            let mut named = Map::new();
            named.insert("name".to_owned(), format!("{before}{number}{after}").into());
            named.extend(node);
            self.0.push(named);
        }
        Ok(self)
    }

    /// What stands before and after the number in all names.
    fn pattern(&self) -> Result<(String, String), VnodesError> {
        let names = self.names();
        let Some(first) = names.first() else {
            return Ok(("wn".to_owned(), String::new()));
        };
        let wrong = |name: &NodeName, place| VnodesError::NotNumbered {
            name: name.to_string(),
            place,
        };
        let label = super::first_label(first.as_str());
        let before = label
            .strip_suffix('1')
            .filter(|before| !before.is_empty() && !before.ends_with(|c: char| c.is_ascii_digit()))
            .ok_or_else(|| wrong(first, 1))?;
        let after = first.as_str().get(label.len()..).unwrap_or_default();
        for (place, name) in (1_usize..).zip(&names) {
            if name.as_str() != format!("{before}{place}{after}") {
                return Err(wrong(name, place));
            }
        }
        Ok((before.to_owned(), after.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(vnodes: &Vnodes) -> Vec<String> {
        vnodes.names().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_list_grows_and_shrinks_at_its_end() {
        let text = r#"[{"name": "wn1", "queues": "a"}, {"queues": "b", "name": "wn2"}]"#;
        let vnodes = Vnodes::parse(text).unwrap();
        let grown = vnodes.clone().with_count(4).unwrap();
        assert_eq!(names(&grown), ["wn1", "wn2", "wn3", "wn4"]);
        assert!(
            grown
                .to_text()
                .contains("\"name\": \"wn4\",\n    \"queues\": \"b\"")
        );
        assert_eq!(Vnodes::parse(&grown.to_text()).unwrap(), grown);
        assert_eq!(names(&grown.with_count(1).unwrap()), ["wn1"]);
        assert_eq!(vnodes.clone().with_count(2).unwrap(), vnodes);
    }

    #[test]
    fn names_keep_their_domain_and_an_empty_list_begins_with_wn1() {
        let vnodes = Vnodes::parse(r#"[{"name": "vnode-1.localdomain"}]"#).unwrap();
        let grown = vnodes.with_count(2).unwrap();
        assert_eq!(
            names(&grown),
            ["vnode-1.localdomain", "vnode-2.localdomain"]
        );
        let empty = Vnodes::parse("[]").unwrap();
        assert_eq!(names(&empty.with_count(2).unwrap()), ["wn1", "wn2"]);
    }

    #[test]
    fn names_that_im_would_not_give_are_not_touched() {
        for text in [
            r#"[{"name": "wn2"}]"#,
            r#"[{"name": "wn1"}, {"name": "wn3"}]"#,
            r#"[{"name": "big"}]"#,
            r#"[{"name": "wn11"}]"#,
        ] {
            let vnodes = Vnodes::parse(text).unwrap();
            let refused = vnodes.with_count(3);
            assert!(
                matches!(refused, Err(VnodesError::NotNumbered { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn other_files_are_refused() {
        let many = format!(
            "[{}{{\"name\": \"wn1\"}}]",
            "{\"name\": \"wn1\"},".repeat(10_000)
        );
        for text in [
            "",
            "{}",
            "[1]",
            "[{}]",
            r#"[{"name": "$(id)"}]"#,
            "[[[[",
            &many,
        ] {
            assert_eq!(Vnodes::parse(text), Err(VnodesError::NotAList));
        }
    }

    #[test]
    fn own_sizes_are_changed_where_they_are() {
        let text = r#"[{"name": "wn1"}, {"name": "wn2", "cpu": 2, "memory": "1024"}]"#;
        let vnodes = Vnodes::parse(text).unwrap();
        assert_eq!(vnodes.own_sizes().len(), 1);
        let size = NodeSize {
            slots: 8,
            memory: 9,
        };
        let made = vnodes.with_size(size).to_text();
        assert!(made.contains("\"cpu\": 8") && made.contains("\"memory\": \"9\""));
        assert_eq!(made.matches("cpu").count(), 1);
    }
}
