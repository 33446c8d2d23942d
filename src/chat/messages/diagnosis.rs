//! Why a cluster does, or does not, grow: a line for each cause.

use std::fmt::Write as _;

use crate::chat::text::{Clean, cut};
use crate::chat::view::{Button, Card, Shade, TEXT, View};
use crate::commands::Catalogue;
use crate::domain::diagnosis::{Cause, Remedy, Verdict};
use crate::domain::message::Prepared;
use crate::looks::diagnose::Diagnosis;

/// The most of a line of evidence.
const EVIDENCE: usize = 300;
/// The most of what is said of a cause that is none.
const FINE: usize = 140;

/// The answer to `/pangeo diagnose`.
pub(crate) fn view(
    clean: &Clean,
    catalogue: &Catalogue,
    cluster: &str,
    diagnosis: &Diagnosis,
) -> View {
    let found = count(diagnosis, |verdict| {
        matches!(verdict, Verdict::Found { .. })
    });
    let unknown = count(diagnosis, |verdict| matches!(verdict, Verdict::Unknown(_)));
    let mut text = headline(diagnosis.demand, found, unknown);
    text.push('\n');
    if let Some(command) = &diagnosis.at_work {
        let command = clean.code(command);
        let _written = writeln!(
            text,
            "{command} is at work on it: what is found may be its doing, and every remedy waits behind it"
        );
    }
    // What was found stands first, so that a cut takes the least.
    for (cause, verdict) in &diagnosis.verdicts {
        if let Verdict::Found { evidence, remedy } = verdict {
            let _written = writeln!(text, "\n❌ **{}**", cause.as_str());
            for line in evidence {
                let _written = writeln!(text, "{}", clean.code(&cut(line, EVIDENCE)));
            }
            let _written = writeln!(
                text,
                "remedy: {}",
                remedy_words(catalogue, cluster, *remedy)
            );
        }
    }
    text.push('\n');
    for (cause, verdict) in &diagnosis.verdicts {
        let (sign, words) = match verdict {
            Verdict::Fine(words) => ("✅", words),
            Verdict::Unknown(why) => ("❔", why),
            Verdict::Found { .. } => continue,
        };
        let words = clean.prose(&cut(words, FINE));
        let _written = writeln!(text, "{sign} {}: {words}", cause.as_str());
    }
    let mut buttons: Vec<Button> = Vec::new();
    for (_cause, verdict) in &diagnosis.verdicts {
        let Verdict::Found { remedy, .. } = verdict else {
            continue;
        };
        let prepared = remedy
            .command
            .map(|command| Prepared::about(command, cluster));
        let button = prepared.and_then(|prepared| Button::runs(catalogue, &prepared));
        buttons.extend(button.filter(|button| !buttons.contains(button)));
    }
    let card = Card {
        title: cut(&clean.redact(&format!("Diagnosis of {cluster}")), 200),
        text: cut(text.trim_end(), TEXT),
        shade: match (found, unknown) {
            (0, 0) => Shade::Good,
            (0, _some) => Shade::Warn,
            (_some, _any) => Shade::Bad,
        },
        fields: Vec::new(),
        footer: String::new(),
    };
    View {
        buttons,
        ..View::card(card)
    }
}

fn count(diagnosis: &Diagnosis, is: impl Fn(&Verdict) -> bool) -> usize {
    let verdicts: &[(Cause, Verdict)] = &diagnosis.verdicts;
    verdicts.iter().filter(|(_, verdict)| is(verdict)).count()
}

fn headline(demand: Option<usize>, found: usize, unknown: usize) -> String {
    let demand = match demand {
        None => "whether pods wait for a node is not known".to_owned(),
        Some(0) => "no pod waits for a node".to_owned(),
        Some(1) => "1 pod waits for a node".to_owned(),
        Some(count) => format!("{count} pods wait for a node"),
    };
    let causes = match found {
        0 => "nothing found".to_owned(),
        1 => "1 cause found".to_owned(),
        count => format!("{count} causes found"),
    };
    let rest = if unknown > 0 {
        format!(", {unknown} not known")
    } else {
        String::new()
    };
    format!("{demand}; {causes}{rest}")
}

/// The command where there is one, else what to do by hand.
fn remedy_words(catalogue: &Catalogue, cluster: &str, remedy: Remedy) -> String {
    match remedy.command.filter(|name| catalogue.get(name).is_some()) {
        Some(command) => format!("`/pangeo {command} name:{cluster}`"),
        None => remedy.words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::redact::Redactor;
    use crate::operations::start::known_steps;

    #[test]
    fn causes_stand_first_with_their_lines_and_what_to_do() {
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        let remedy = |command| Remedy {
            words: "do it by hand",
            command: Some(command),
        };
        let found = |text: &str, command| Verdict::Found {
            evidence: vec![text.to_owned()],
            remedy: remedy(command),
        };
        let diagnosis = Diagnosis {
            demand: Some(2),
            at_work: Some("deploy".to_owned()),
            verdicts: vec![
                (Cause::CluesDead, Verdict::Fine("10 s ago".to_owned())),
                (
                    Cause::TokenExpired,
                    found("token = abcdef012 `x`", "no such command"),
                ),
                (Cause::NotConfigured, found("VM 2", "status")),
                (
                    Cause::NodeNotReady,
                    Verdict::Unknown("no *answer*".to_owned()),
                ),
            ],
        };
        let view = view(&Clean::new(Redactor::new()), &catalogue, "geo", &diagnosis);
        assert_eq!(view.buttons[0].label, "/pangeo status");
        assert_eq!(view.buttons.len(), 1, "no button for what is not there");
        assert_eq!(
            view.card.unwrap().text,
            "2 pods wait for a node; 2 causes found, 1 not known\n\
             `deploy` is at work on it: what is found may be its doing, and every remedy waits behind it\n\n\
             ❌ **token expired**\n`token = [redacted] ˋxˋ`\nremedy: do it by hand\n\n\
             ❌ **VM never configured**\n`VM 2`\nremedy: `/pangeo status name:geo`\n\n\
             ✅ CLUES dead: 10 s ago\n❔ node not ready: no \\*answer\\*"
        );
    }
}
