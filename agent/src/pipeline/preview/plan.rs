//! How the server would run a statement, in a few words.

use serde_json::Value;

/// As many lines are shown.
const MAX_LINES: usize = 12;

/// As deep is looked.
const MAX_DEPTH: usize = 60;

/// What is known of a plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// How it gets at the rows of each relation.
    pub lines: Vec<String>,
    /// How many rows it would write, about.
    pub writes: u64,
}

impl Plan {
    /// Of what `EXPLAIN (FORMAT JSON)` says.
    pub fn read(json: &str) -> Option<Self> {
        let plans: Value = serde_json::from_str(json).ok()?;
        let mut plan = Self::default();
        for explained in plans.as_array()? {
            plan.add(explained.get("Plan")?, 0);
        }
        Some(plan)
    }

    fn add(&mut self, node: &Value, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let text = |key: &str| node.get(key).and_then(Value::as_str);
        let children = node.get("Plans").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let kind = text("Node Type").unwrap_or_default();
        if kind == "ModifyTable" {
            let feeds = |child: &&Value| {
                matches!(child.get("Parent Relationship").and_then(Value::as_str), Some("Outer" | "Member"))
            };
            self.writes = children.iter().filter(feeds).map(rows).fold(self.writes, u64::saturating_add);
        } else if let Some(relation) = text("Relation Name").filter(|_| self.lines.len() < MAX_LINES) {
            let index = text("Index Name").map(|index| format!(" by {index}")).unwrap_or_default();
            let line = format!("{kind} on {relation}{index} ({} rows)", grouped(rows(node)));
            if !self.lines.contains(&line) {
                self.lines.push(line);
            }
        }
        for child in children {
            self.add(child, depth + 1);
        }
    }

    /// A sequential scan reads all rows of the relation, however many of them it keeps.
    pub fn scans(&mut self, relation: &str, total: u64) {
        let start = format!("Seq Scan on {relation} (");
        for line in self.lines.iter_mut().filter(|line| line.starts_with(&start)) {
            *line = format!("{start}{} rows)", grouped(total));
        }
    }
}

fn rows(node: &Value) -> u64 {
    node.get("Plan Rows").and_then(Value::as_u64).unwrap_or_default()
}

/// A number as people read it: `48,110`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_in_a_few_words() {
        let json = r#"[{"Plan": {"Node Type": "ModifyTable", "Operation": "Delete", "Relation Name": "orders", "Plan Rows": 0,
            "Plans": [
                {"Node Type": "Hash Join", "Parent Relationship": "Outer", "Plan Rows": 312, "Plans": [
                    {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Relation Name": "orders", "Plan Rows": 400},
                    {"Node Type": "Index Scan", "Parent Relationship": "Inner", "Relation Name": "items",
                     "Index Name": "items_pkey", "Plan Rows": 1204}]},
                {"Node Type": "ModifyTable", "Parent Relationship": "InitPlan", "Plan Rows": 5, "Plans": [
                    {"Node Type": "Result", "Parent Relationship": "Outer", "Plan Rows": 2}]}]}}]"#;
        let mut plan = Plan::read(json).unwrap();
        assert_eq!(plan.writes, 314);
        assert_eq!(plan.lines, ["Seq Scan on orders (400 rows)", "Index Scan on items by items_pkey (1,204 rows)"]);
        plan.scans("orders", 48_110);
        assert_eq!(plan.lines[0], "Seq Scan on orders (48,110 rows)");
        assert_eq!(Plan::read("[]"), Some(Plan::default()));
        assert_eq!(Plan::read("{"), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
