//! Why a statement may not run, in words for whoever sent it.

use crate::rules::{Column, ColumnRule, Compare};
use postern_sql::facts::{Name, Place, Statement};
use std::fmt;

/// A statement that may not run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Where it uses the masked column; `None`: it is no single use.
    pub place: Option<Place>,
    /// What is refused, and why.
    pub message: String,
    /// What to do instead.
    pub hint: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

const ASK: &str = "or ask for an access role that may unmask it";

/// A masked column stands where its value would be told.
pub(crate) fn place(statement: &Statement, column: &Column, rule: &ColumnRule, place: Place) -> Refused {
    let (what, instead) = match place {
        Place::Compared | Place::Counted | Place::Filter | Place::Joined | Place::Join | Place::Group
            if rule.compare == Compare::None =>
        {
            ("of its tag nothing may be asked, neither in conditions nor by counting or grouping", LEAVE_OUT)
        }
        Place::Filter => (
            "a condition other than equality with constants would tell its values piece by piece",
            "Compare the bare column with =, <>, IN or IS NULL and constants or parameters",
        ),
        Place::Joined | Place::Join => (
            "only columns of one tag whose mask is hash may be joined, by = and as they stand",
            "Join by another column",
        ),
        Place::Group => (
            "GROUP BY, DISTINCT and UNION would tell which values are equal, which only the mask hash shows",
            "Group by another column, or use count(column) or UNION ALL",
        ),
        Place::Order => ("an order would tell its values by their neighbours", "Order by another column"),
        Place::Window => ("a window would tell its values by their neighbours", "Use another column for the window"),
        Place::Overwrite => (
            "what this grant sees of it is not what stands there, so it may not be written over",
            "Leave the column out of what is updated",
        ),
        Place::Source => {
            ("it would be stored or sent where it is read unmasked", "Leave the column out of what is written or sent")
        }
        Place::Argument => (
            "it is given to a function, operator or cast that could fail or tell something by its value",
            "Select the bare column, which comes back masked",
        ),
        Place::Inside => (
            "a function that the statement calls reads it, and may tell it",
            "Read the table itself, where the column comes back masked",
        ),
        Place::Output | Place::Derived | Place::Counted | Place::Compared | Place::Write => {
            ("it may not be used here", LEAVE_OUT)
        }
    };
    let tag = statement.tag;
    let message = format!("{tag} is refused: {column} is masked ({}), and {what}", rule.told());
    let ask = if place == Place::Overwrite { "or ask for an access role that may unmask or overwrite it" } else { ASK };
    Refused { place: Some(place), message, hint: format!("{instead}, {ask}.") }
}

const LEAVE_OUT: &str = "Select the bare column, which comes back masked";

/// EXPLAIN of a statement that uses a masked column.
pub(crate) fn explained(column: &Column, tags: String) -> Refused {
    Refused {
        place: None,
        message: format!(
            "EXPLAIN is refused: {column} is masked ({tags}), and the estimates of a plan tell about its values"
        ),
        hint: format!("Explain the statement without this column, {ASK}."),
    }
}

/// It cannot be told what the statement returns.
pub(crate) fn open(statement: &Statement) -> Refused {
    Refused {
        place: None,
        message: format!(
            "{} is refused: it reads what is masked, and it cannot be told which columns it returns",
            statement.tag
        ),
        hint: format!("Name the columns that you need, {ASK}."),
    }
}

/// A tag names a column that its table does not have.
pub(crate) fn lost(statement: &Statement, column: &Column, tag: &str) -> Refused {
    Refused {
        place: None,
        message: format!(
            "{} is refused: the masked tag {tag} names {column}, which does not exist, so that it is not known which column \
             of {}.{} is meant",
            statement.tag, column.relation.schema, column.relation.name
        ),
        hint: "An admin of Postern has to mend the connection's tags; a role that may unmask the column can read the \
               table."
            .to_owned(),
    }
}

/// A relation that shows what others have.
pub(crate) fn relation(statement: &Statement, name: &Name, what: &str) -> Refused {
    around(
        statement,
        &format!("{}.{} {what}", name.schema, name.name),
        &format!("Leave it out, or have an admin list it: `safe_relations: [{}.{}]`", name.schema, name.name),
    )
}

/// A function that nobody knows, or that shows what others have.
pub(crate) fn function(statement: &Statement, name: &Name, what: &str) -> Refused {
    around(
        statement,
        &format!("the function {}.{} {what}", name.schema, name.name),
        &format!("Do without it, or have an admin list it: `safe_functions: [{}.{}]`", name.schema, name.name),
    )
}

/// A channel.
pub(crate) fn channel(statement: &Statement, channel: &str) -> Refused {
    around(
        statement,
        &format!("what is sent to the channel {channel} may hold rows as they are"),
        &format!("Have an admin list it: `safe_channels: [{channel}]`"),
    )
}

/// Any other way around the masks.
pub(crate) fn around(statement: &Statement, what: &str, instead: &str) -> Refused {
    Refused {
        place: None,
        message: format!(
            "{} is refused: something on this connection is masked for this grant, and {what}",
            statement.tag
        ),
        hint: format!("{instead}, or ask for an access role that may unmask."),
    }
}
