//! Functions and operators: which of them a call may mean.
//!
//! PostgreSQL chooses among functions of one name by the types of the arguments. Where nobody but the server's makers
//! defined functions of that name, the choice does not matter here. Where a user did, all that the types do not rule out
//! are taken to be called.

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, CoercionForm, a_const::Val},
};

use super::{
    Analyser, Step,
    flow::Flow,
    missing,
    names::{self, SYSTEM},
    query::is_column_name,
    scope::{Scope, Ty},
};
use crate::{
    builtin,
    catalog::{FIRST_USER_OID, Operator, Routine, TypeKind},
    facts::{Access, Action, Function, Manner, Name, Object, Place, Setting, Standing, Volatility},
    guards, settings, version,
};

/// The type text, which literals prefer.
const TEXT_OID: u32 = 25;
/// Types that stand for any.
const POLYMORPHIC: &[u32] = &[2276, 2277, 2283, 2776, 3500, 3831, 4537, 4538, 5077, 5078, 5079, 5080, 2249, 2287];
/// Those of them that take literals as what the other arguments are: all but `"any"` and rows.
const ADAPTING: &[u32] = &[2277, 2283, 2776, 3500, 3831, 4537, 4538, 5077, 5078, 5079, 5080];

impl<'a> Analyser<'a> {
    /// A call as the grammar has it, aggregates and window functions included.
    pub(super) fn function_call(
        &mut self,
        call: &protobuf::FuncCall,
        scope: &Scope<'_, 'a>,
        flow: &mut Flow,
    ) -> Step<Ty> {
        let mut types = Vec::with_capacity(call.args.len());
        let mut flows = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            let mut own = Flow::default();
            types.push(self.expr(arg, scope, &mut own)?);
            flows.push(own);
        }
        // Arguments by name may come in any order, so that their types say nothing by their place.
        if call.args.iter().any(|arg| matches!(arg.node, Some(NodeEnum::NamedArgExpr(_)))) {
            types.fill(Ty::Opaque);
        }
        if call.agg_within_group {
            // What is ordered is what the result is taken from.
            for order in &call.agg_order {
                let Some(NodeEnum::SortBy(sort)) = &order.node else { continue };
                let mut own = Flow::default();
                types.push(self.maybe(sort.node.as_deref(), scope, &mut own)?);
                flows.push(own);
            }
        }
        self.sorted(&call.agg_order, scope, Place::Order, flow)?;
        self.choice(call.agg_filter.as_deref(), scope, Place::Filter, flow)?;
        if let Some(window) = &call.over {
            self.window(window, scope, flow)?;
        }
        let (schema, name) = names::qualified(&call.funcname)?;
        self.arguments(call, (schema, name), &types, &flows, flow);
        // What the grammar itself makes of EXTRACT, TRIM, AT TIME ZONE and the like is always the server's own.
        if call.funcformat == CoercionForm::CoerceSqlSyntax as i32 && schema == Some(SYSTEM) {
            return self.syntax_function(name);
        }
        self.call_by_name(schema, name, &types, &call.args, call.location)
    }

    /// A call by name with arguments of these types.
    pub(super) fn call_by_name(
        &mut self,
        schema: Option<&str>,
        name: &str,
        types: &[Ty],
        args: &[Node],
        at: i32,
    ) -> Step<Ty> {
        let candidates = self.candidates(schema, name, types);
        if candidates.is_empty() {
            // `f(t)` is the column `t.f` where t is a row. The row was taken as a whole already.
            let projection = schema.is_none() && matches!(types, [Ty::Opaque | Ty::Known(_)]) && self.may_be_row(types);
            if projection {
                return Ok(Ty::Opaque);
            }
            // `text(x)` is the cast `x::text` where no function has the type's name.
            if let [from] = types
                && let Some(ty) = self.type_named(schema, name)
            {
                return self.cast_to_oid(ty, *from);
            }
            if !guards::stops(guards::FUNCTIONS) {
                return Ok(Ty::Opaque);
            }
            return Err(missing(format!("function {name} does not exist for such arguments"), at));
        }
        self.implicit_casts(types);
        if types.contains(&Ty::Literal)
            && candidates.iter().any(|routine| routine.args.iter().any(|arg| ADAPTING.contains(arg)))
        {
            types.iter().try_for_each(|ty| if let Ty::Known(oid) = ty { self.type_checks(*oid) } else { Ok(()) })?;
        }
        // A function that takes a row can make another of its type.
        for ty in types {
            if let Ty::Known(oid) = ty
                && self.catalog.type_by_oid(*oid).is_some_and(|ty| ty.kind == TypeKind::Composite)
            {
                self.type_checks(*oid)?;
            }
        }
        for routine in &candidates {
            self.call(routine, args);
        }
        // `int4(x)` is a cast of users' making where no function of the name takes the argument.
        if let [from] = types
            && self.catalog.user_casts().next().is_some()
            && let Some(ty) = self.type_named(schema, name)
        {
            self.cast_to_oid(ty, *from)?;
        }
        let exact = candidates.iter().find(|routine| {
            let mut args = routine.args.iter().zip(types);
            routine.args.len() == types.len() && args.all(|(arg, ty)| self.is_same(*ty, *arg))
        });
        Ok(result_type(exact.map_or(candidates.as_slice(), std::slice::from_ref)))
    }

    /// `row.name` as a call of `name(row)`; `None` where no function could be meant.
    pub(super) fn call_by_attribute(&mut self, name: &str, row: Ty) -> Step<Option<Ty>> {
        let candidates = self.candidates(None, name, &[row]);
        if candidates.is_empty() {
            return Ok(None);
        }
        for routine in &candidates {
            self.call(routine, &[]);
        }
        Ok(Some(result_type(&candidates)))
    }

    /// The functions that such a call may mean.
    pub(super) fn candidates(&self, schema: Option<&str>, name: &str, types: &[Ty]) -> Vec<&'a Routine> {
        let path = match schema {
            Some(schema) => vec![self.real_schema(schema)],
            None => self.function_path(),
        };
        let visible = |routine: &&Routine| path.contains(&routine.name.schema) && routine.accepts(types.len());
        let mut found: Vec<&Routine> = self.catalog.routines(name).filter(visible).collect();
        if self.catalog.has_user_routine(name) {
            found.retain(|routine| self.fits(routine, types));
            // Of functions that take text, and nothing but literals to go by, PostgreSQL takes one of those.
            let of_text = |routine: &&Routine| {
                routine.args.len() == types.len() && routine.args.iter().all(|oid| *oid == TEXT_OID)
            };
            if types.iter().all(|ty| *ty == Ty::Literal) && found.iter().any(of_text) {
                found.retain(of_text);
            }
            // An exact match ends the search, the first in the path's order.
            let exact = |routine: &&&Routine| {
                routine.args.len() == types.len()
                    && routine.args.iter().zip(types).all(|(arg, ty)| *ty == Ty::Known(*arg))
            };
            let place = |routine: &&Routine| path.iter().position(|schema| *schema == routine.name.schema);
            if let Some(first) = found.iter().filter(exact).min_by_key(|routine| place(routine)).copied() {
                return vec![first];
            }
        }
        found
    }

    /// Whether types allow this function to be chosen.
    fn fits(&self, routine: &Routine, types: &[Ty]) -> bool {
        types.iter().enumerate().all(|(at, ty)| {
            let last = at + 1 >= routine.args.len();
            let wanted = if last && routine.variadic != 0 { None } else { routine.args.get(at) };
            wanted.is_none_or(|wanted| self.may_become(*ty, *wanted))
        })
    }

    /// Whether a value of one type may stand where another is wanted, without being asked to.
    fn may_become(&self, ty: Ty, wanted: u32) -> bool {
        let Ty::Known(oid) = ty else { return true };
        let base = self.base_type(oid);
        if oid == wanted || base == wanted || POLYMORPHIC.contains(&wanted) {
            return true;
        }
        // Rows and arrays have coercions that pg_cast does not list.
        let loose = |oid: u32| {
            let ty = self.catalog.type_by_oid(oid);
            ty.is_none_or(|ty| ty.array || matches!(ty.kind, TypeKind::Composite | TypeKind::Pseudo))
        };
        if loose(base) && loose(wanted) {
            return true;
        }
        self.catalog.casts_from(base).any(|cast| cast.target == wanted && cast.implicit)
    }

    fn may_be_row(&self, types: &[Ty]) -> bool {
        types.iter().all(|ty| match ty {
            Ty::Known(oid) => {
                let ty = self.catalog.type_by_oid(self.base_type(*oid));
                ty.is_none_or(|ty| ty.kind == TypeKind::Composite || ty.oid == 2249)
            }
            Ty::Opaque => true,
            Ty::Literal => false,
        })
    }

    /// A type by its name.
    pub(super) fn type_named(&self, schema: Option<&str>, name: &str) -> Option<u32> {
        let found = match schema {
            Some(schema) => self.catalog.type_in(&self.real_schema(schema), name),
            None => self.path().iter().find_map(|schema| self.catalog.type_in(schema, name)),
        };
        found.map(|ty| ty.oid)
    }

    /// What EXTRACT, TRIM, OVERLAY, AT TIME ZONE and the like become.
    fn syntax_function(&mut self, name: &str) -> Step<Ty> {
        let since = match name {
            "system_user" => 16,
            _ => version::OLDEST,
        };
        version::require(name, since, self.context.major)?;
        let name = Name { schema: SYSTEM.into(), name: name.into() };
        let function = Function { name, volatility: Volatility::Stable, standing: Standing::Harmless };
        self.facts.functions.insert(function);
        Ok(Ty::Opaque)
    }

    /// Notes that a function runs. What it does is judged when the statement has been read.
    pub(super) fn call(&mut self, routine: &Routine, args: &[Node]) {
        self.facts.called.push(routine.oid);
        if !routine.is_builtin() {
            return;
        }
        if builtin::makes_json(&routine.name.name) {
            self.facts.makes_json = true;
        }
        match &*routine.name.name {
            "set_config" => self.set_config(args),
            name if builtin::changes_sequence(name) => {
                let sequence = args.first().and_then(constant_text).and_then(|text| self.sequence(text));
                // One that is computed could be any.
                self.access(Action::Update, sequence.map_or(Object::Database, Object::Relation));
            }
            _ => {}
        }
    }

    fn set_config(&mut self, args: &[Node]) {
        let constant = args.first().and_then(constant_text).map(str::to_ascii_lowercase);
        let pinned = || self.setting_name.clone().filter(|_| args.first().is_some_and(is_column_name));
        let name = constant.or_else(pinned);
        let value = args.get(1).and_then(constant_text).map(str::to_owned);
        // What is not plainly local is taken to last.
        let local = args.get(2).is_some_and(is_true);
        // A name that is computed could be any.
        let administrative = name.as_deref().is_none_or(settings::is_administrative);
        if administrative {
            self.admin();
        }
        if name.as_deref().is_none_or(settings::changes_meaning) {
            self.barrier();
        }
        self.facts.settings.push(Setting { name, value, local });
    }

    /// The sequence that a text constant names, as a cast to regclass would find it.
    fn sequence(&self, text: &str) -> Option<Name> {
        let parts = crate::context::parse_search_path(&text.replace('.', ","))?;
        let relation = match parts.as_slice() {
            [name] => self.look_up(None, name),
            [schema, name] => self.look_up(Some(schema), name),
            _ => None,
        };
        relation.map(|relation| self.facts_name(relation))
    }

    /// An operator with operands of these types; `left` is missing for a prefix operator.
    pub(super) fn operator_call(&mut self, schema: Option<&str>, name: &str, left: Option<Ty>, right: Ty) -> Step<Ty> {
        let path = match schema {
            Some(schema) => vec![self.real_schema(schema)],
            None if self.catalog.has_user_operator(name) => self.function_path(),
            // Nobody defined one: the path does not matter, and neither does the choice.
            None => vec![SYSTEM.into()],
        };
        let arity = |operator: &&Operator| (operator.left == 0) == left.is_none() && path.contains(&operator.schema);
        let mut found: Vec<&Operator> = self.catalog.operators(name).filter(arity).collect();
        if found.is_empty() {
            return Err(missing(format!("operator {name} does not exist for such operands"), -1));
        }
        let operands = [left.unwrap_or(right), right];
        self.implicit_casts(&operands);
        self.literals_beside(&operands)?;
        if found.iter().any(|operator| operator.function >= FIRST_USER_OID) {
            let fits = |operator: &&Operator| {
                self.may_become(right, operator.right) && left.is_none_or(|left| self.may_become(left, operator.left))
            };
            found.retain(fits);
            let of_text = |operator: &&Operator| operator.left == TEXT_OID && operator.right == TEXT_OID;
            if left == Some(Ty::Literal) && right == Ty::Literal && found.iter().any(of_text) {
                found.retain(of_text);
            }
            if let Some(exact) = self.exact(&found, &path, left, right) {
                found = vec![exact];
            }
        } else {
            // The result's type is only a hint for what follows.
            let result = self.exact(&found, &path, left, right).map(|operator| operator.result);
            let common = found.iter().map(|operator| operator.result).reduce(|a, b| if a == b { a } else { 0 });
            let result = result.or(common.filter(|oid| *oid != 0));
            return Ok(result.filter(|oid| !POLYMORPHIC.contains(oid)).map_or(Ty::Opaque, Ty::Known));
        }
        let mut result: Option<Ty> = None;
        for operator in &found {
            if operator.function >= FIRST_USER_OID {
                self.facts.called.push(operator.function);
            }
            let ty = if POLYMORPHIC.contains(&operator.result) { Ty::Opaque } else { Ty::Known(operator.result) };
            result = Some(result.map_or(ty, |other| other.or(ty)));
        }
        Ok(result.unwrap_or(Ty::Opaque))
    }

    fn is_same(&self, ty: Ty, wanted: u32) -> bool {
        matches!(ty, Ty::Known(oid) if oid == wanted || self.base_type(oid) == wanted)
    }

    /// The operator that PostgreSQL takes at once: the first in the path's order whose operands are exactly these. A
    /// literal is tried with the other operand's type.
    fn exact(
        &self,
        found: &[&'a Operator],
        path: &[std::sync::Arc<str>],
        left: Option<Ty>,
        right: Ty,
    ) -> Option<&'a Operator> {
        let (left, right) = match (left, right) {
            (Some(Ty::Literal), known @ Ty::Known(_)) => (Some(known), known),
            (Some(known @ Ty::Known(_)), Ty::Literal) => (Some(known), known),
            (Some(Ty::Opaque), _) | (_, Ty::Opaque | Ty::Literal) => return None,
            other => other,
        };
        let place = |operator: &&&Operator| path.iter().position(|schema| *schema == operator.schema);
        let matches = |plain: bool| {
            let same = move |ty: Ty, wanted: u32| match ty {
                Ty::Known(oid) => wanted == if plain { oid } else { self.base_type(oid) },
                _ => false,
            };
            let exact = move |operator: &&&Operator| {
                same(right, operator.right) && left.is_none_or(|left| same(left, operator.left))
            };
            found.iter().filter(exact).min_by_key(place).copied()
        };
        matches(true).or_else(|| matches(false))
    }

    /// Judges what a built-in or user's function does, and records it.
    pub(super) fn record_function(&mut self, routine: &Routine, standing: Standing) {
        let name = Name { schema: routine.name.schema.clone(), name: routine.name.name.clone() };
        if matches!(standing, Standing::Effectful | Standing::Unknown) {
            let object = Object::Function(name.clone());
            self.facts.accesses.insert(Access { action: Action::Call, object, manner: Manner::Plain });
        }
        self.facts.functions.insert(Function { name, volatility: routine.volatility, standing });
    }
}

/// The one type that all candidates return, if it is one.
fn result_type(candidates: &[&Routine]) -> Ty {
    let types = candidates.iter().map(|routine| routine.result);
    match types.reduce(|a, b| if a == b { a } else { 0 }) {
        Some(0) | None => Ty::Opaque,
        Some(oid) if POLYMORPHIC.contains(&oid) => Ty::Opaque,
        Some(oid) => Ty::Known(oid),
    }
}

/// The text of a string constant, also one with a cast around it.
pub(super) fn constant_text(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(Val::Sval(text)) => Some(&text.sval),
            _ => None,
        },
        Some(NodeEnum::TypeCast(cast)) => {
            // A cast to anything else could change what the text says.
            let name = cast.type_name.as_ref()?;
            let last = name.names.last().and_then(names::string)?;
            let plain = matches!(last, "text" | "regclass" | "varchar") && name.array_bounds.is_empty();
            let plain = plain && name.typmods.is_empty();
            if plain { constant_text(cast.arg.as_deref()?) } else { None }
        }
        _ => None,
    }
}

/// Whether a node is the constant `true`.
fn is_true(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::AConst(constant))
        if matches!(&constant.val, Some(Val::Boolval(found)) if found.boolval))
}
