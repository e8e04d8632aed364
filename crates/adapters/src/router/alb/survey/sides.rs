//! Which two sides a request is about.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::{Problem, Sides, listed};

use super::{Asked, Reader, Row};
use crate::router::alb::arn;

impl Reader<'_, '_> {
    /// The two sides: the old one from the request, or the one beside the new that has weight today.
    pub(super) fn find_sides(
        &mut self,
        rows: &[Row<'_>],
        asked: Option<&[Asked<'_>]>,
    ) -> Option<Sides> {
        let new = self.request.new.clone();
        if !self.sides_are_told_apart() {
            return None;
        }
        if let Some(old) = self.request.old.clone() {
            return self.old_exists(&old, rows).then_some(Sides { old, new });
        }
        let considered: Vec<&Row<'_>> = match asked {
            // Whatever is wrong with them has been said.
            Some([]) => return None,
            Some(asked) => asked.iter().flat_map(|asked| asked.rows.iter().copied()).collect(),
            None => rows.iter().filter(|row| row.sides.contains(new.as_str())).collect(),
        };
        let old = self.side_beside_new(&considered)?;
        Some(Sides { old, new })
    }

    /// The one side beside the new that has weight in these rules.
    fn side_beside_new(&mut self, considered: &[&Row<'_>]) -> Option<String> {
        let (new, listeners) = (&self.request.new, self.listeners());
        let has_new = considered.iter().any(|row| row.sides.contains(new.as_str()));
        let groups = considered.iter().flat_map(|row| row.groups.iter().flatten());
        let weighted = groups.filter(|group| group.weight > 0);
        let sides = weighted.filter_map(|group| self.seen.side_of.get(&group.arn));
        let carrying: BTreeSet<&String> = sides.filter(|side| *side != new).collect();
        match (carrying.into_iter().collect::<Vec<_>>().as_slice(), has_new) {
            ([old], _) => return Some((*old).clone()),
            ([], false) => {
                let message = format!(
                    "no rule of {listeners} has a target group of {new:?} yet, and old is not named: {}",
                    self.how_to_add(new)
                );
                self.not_yet(Problem::new("no_new_group", message));
            }
            ([], true) => {
                let message = format!(
                    "no side beside {new:?} has weight in the rules of {listeners}: name the side to go back to with old"
                );
                self.refuse(Problem::new("old_unknown", message));
            }
            (many, _) => {
                let names = quoted(many.iter().map(|side| side.as_str()));
                let message = format!(
                    "several sides beside {new:?} have weight in the rules of {listeners}: {names}; name one with old"
                );
                self.refuse(Problem::new("old_ambiguous", message));
            }
        }
        None
    }

    /// Whether the request's own list of target groups, if it has one, has both sides, and no group of two.
    fn sides_are_told_apart(&mut self) -> bool {
        let groups = &self.seen.place.target_groups;
        if groups.is_empty() {
            return true;
        }
        let before = self.findings.len();
        let sides = [Some(&self.request.new), self.request.old.as_ref()];
        for side in sides.into_iter().flatten().filter(|side| !groups.contains_key(*side)) {
            let known = quoted(groups.keys().map(String::as_str));
            let message = format!("target_groups has no side {side:?}; it has: {known}");
            self.refuse(Problem::new("no_such_side", message));
        }
        let mut owners: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        for (side, arns) in groups {
            for arn in arns {
                owners.entry(arn).or_default().insert(side);
            }
        }
        for (arn, sides) in owners.into_iter().filter(|(_, sides)| sides.len() > 1) {
            let message = format!(
                "target group {} stands under several sides in target_groups: {}; a share can only be set between two \
                 groups, so give each cluster its own (with multiClusterTargetGroup both are in one)",
                arn::group_name(arn),
                quoted(sides.into_iter().map(String::as_str))
            );
            self.refuse(Problem::new("shared_group", message));
        }
        self.findings.len() == before
    }

    /// A name for the old side that no group has is a mistake: nothing will ever add a group of it. Where the routes
    /// are named, each of them is looked at by itself.
    fn old_exists(&mut self, old: &str, rows: &[Row<'_>]) -> bool {
        if self.request.routes.is_some() || rows.iter().any(|row| row.sides.contains(old)) {
            return true;
        }
        let message = format!(
            "no rule of {} has a target group of the side {old:?} that old names; {}",
            self.listeners(),
            self.sides_there_are(rows)
        );
        self.refuse(Problem::new("old_unknown", message));
        false
    }

    /// Which sides have a group in these rules, for people.
    pub(super) fn sides_there_are<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a Row<'a>>,
    ) -> String {
        let sides: BTreeSet<&str> =
            rows.into_iter().flat_map(|row| row.sides.iter().copied()).collect();
        let sides = quoted(sides.into_iter());
        match self.seen.place.side_tag.as_str() {
            "" => format!("of the sides in target_groups there are: {sides}"),
            tag => format!("by the tag {tag} there are: {sides}"),
        }
    }

    /// How a rule gets the new side's group, for people.
    pub(super) fn how_to_add(&self, new: &str) -> String {
        let tag = match self.seen.place.side_tag.as_str() {
            "" => String::new(),
            tag => format!(" (tagged {tag}={new})"),
        };
        format!(
            "add the new cluster's target group{tag} to the rule with weight 0; with multiClusterTargetGroup: true both \
             clusters' targets are in one group, and no share can be set"
        )
    }
}

/// Names in quotes, for people.
fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names = listed(names.map(|name| format!("{name:?}")));
    if names.is_empty() { "none".to_owned() } else { names }
}
