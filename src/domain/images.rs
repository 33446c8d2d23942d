//! Tags of container images, as the Pangeo community gives them: the day of a release, such as
//! `2024.01.15` (<https://github.com/pangeo-data/pangeo-docker-images>), beside `latest` and commits.

use chrono::NaiveDate;

use super::deploy::NotebookImage;

/// How many tags are named.
const NAMED: usize = 3;

/// The day that a tag names.
fn day(tag: &str) -> Option<NaiveDate> {
    let is_day = tag.len() == 10;
    NaiveDate::parse_from_str(tag, "%Y.%m.%d")
        .ok()
        .filter(|_day| is_day)
}

/// The tags that name a day, newest first.
pub fn dated(tags: &[String]) -> Vec<&str> {
    let days = tags
        .iter()
        .filter_map(|tag| Some((day(tag)?, tag.as_str())));
    let mut days: Vec<_> = days.collect();
    days.sort_unstable_by(|one, other| other.cmp(one));
    days.dedup();
    days.into_iter().map(|(_day, tag)| tag).collect()
}

/// What a registry's tags say of an image that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagsTold {
    /// A line about newer tags; `None` where there is nothing to compare.
    pub newer: Option<String>,
    /// Whether the registry has the tag.
    pub is_there: bool,
}

/// Compares the tag of an image with those that there are.
pub fn told(image: &NotebookImage, tags: &[String]) -> TagsTold {
    let dated = dated(tags);
    let newer: Vec<&str> = match day(&image.tag) {
        Some(wanted) => {
            let is_newer = |tag: &&&str| day(tag).is_some_and(|day| day > wanted);
            dated.iter().take_while(is_newer).copied().collect()
        }
        None => dated,
    };
    let line = match (day(&image.tag), newer.split_at_checked(NAMED)) {
        (_, _) if newer.is_empty() => {
            day(&image.tag).map(|_day| format!("tags: `{}` is the newest with a day", image.tag))
        }
        (Some(_), Some((first, rest))) if !rest.is_empty() => Some(format!(
            "newer tags: {} and {} more",
            listed(first),
            rest.len()
        )),
        (Some(_), _) => Some(format!("newer tags: {}", listed(&newer))),
        (None, Some((first, _rest))) => Some(format!("newest tags with a day: {}", listed(first))),
        (None, None) => Some(format!("newest tags with a day: {}", listed(&newer))),
    };
    TagsTold {
        newer: line,
        is_there: tags.contains(&image.tag),
    }
}

fn listed(tags: &[&str]) -> String {
    let tags: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
    tags.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    fn image(tag: &str) -> NotebookImage {
        NotebookImage {
            name: "pangeo/pangeo-notebook".to_owned(),
            tag: tag.to_owned(),
        }
    }

    #[test]
    fn only_days_are_compared_and_the_newest_come_first() {
        let tags = tags(&[
            "latest",
            "2024.1.15",
            "2022.09.21",
            "2024.13.01",
            "ab12cd34ef",
            "2024.05.21",
            "2023.07.05",
            "2024.05.21-rc1",
            "2024.04.08",
            "2024.01.15",
        ]);
        let newer = |tag: &str| told(&image(tag), &tags).newer.unwrap();
        assert_eq!(
            newer("2022.09.21"),
            "newer tags: `2024.05.21`, `2024.04.08`, `2024.01.15` and 1 more"
        );
        assert_eq!(
            newer("2024.01.15"),
            "newer tags: `2024.05.21`, `2024.04.08`"
        );
        assert_eq!(
            newer("2024.05.21"),
            "tags: `2024.05.21` is the newest with a day"
        );
        assert_eq!(
            newer("latest"),
            "newest tags with a day: `2024.05.21`, `2024.04.08`, `2024.01.15`"
        );
        assert!(told(&image("latest"), &tags).is_there);
        assert!(!told(&image("2024.01.16"), &tags).is_there);
        let commits = ["ab12".to_owned()];
        assert_eq!(told(&image("latest"), &commits).newer, None);
    }
}
