//! Writes a copy of the module's sources in which each change is behind a switch:
//!
//!     generate <src> <copy of src> <file with the numbers of the changes to leave out>
//!
//! and prints a JSON array of the changes, with their places in the copy. A changed expression
//! becomes `(if is(7) {changed} else {original})`, and only the original contains further switches.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{json, Value};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, Lit, Pat, ReturnType, Stmt, Type, UnOp};

/// A text to insert into the original. With a number: the code of that change.
struct Insertion {
    at: usize,
    text: String,
    change: Option<usize>,
}

struct Change {
    number: usize,
    what: String,
    place: Range<usize>,
}

struct File<'t> {
    text: &'t str,
    function: Vec<String>,
    next: usize,
    left_out: &'t BTreeSet<usize>,
    insertions: Vec<Insertion>,
    changes: Vec<Change>,
}

impl File<'_> {
    fn of(&self, node: &impl Spanned) -> String {
        self.text[node.span().byte_range()].to_owned()
    }

    /// Numbers a change of this place. `None` if it is left out.
    fn change(&mut self, place: &Range<usize>, what: String) -> Option<usize> {
        let number = self.next;
        self.next += 1;
        if self.left_out.contains(&number) {
            return None;
        }
        let function = self.function.last().cloned().unwrap_or_default();
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        self.changes.push(Change {
            number,
            what: format!("{function}: {what}"),
            place: place.clone(),
        });
        Some(number)
    }

    fn insert(&mut self, at: usize, text: String, change: Option<usize>) {
        self.insertions.push(Insertion { at, text, change });
    }

    /// Replaces the expression at `place` by each of these values, and visits it.
    fn instead(
        &mut self,
        place: Range<usize>,
        values: Vec<(String, String)>,
        inner: impl FnOnce(&mut Self),
    ) {
        let mut switches = 0;
        for (value, what) in values {
            if let Some(number) = self.change(&place, what) {
                let open = if switches == 0 { "(if" } else { "else if" };
                let text = format!("{open} crate::mutant::is({number}) {{ {value} }} ");
                self.insert(place.start, text, Some(number));
                switches += 1;
            }
        }
        if switches > 0 {
            self.insert(place.start, "else {".into(), None);
        }
        inner(self);
        if switches > 0 {
            self.insert(place.end, "})".into(), None);
        }
    }

    /// Replaces a condition by each of these values, unless it contains a pattern.
    fn condition(&mut self, condition: &Expr, values: &[bool]) {
        if contains_let(condition) {
            return self.visit_expr(condition);
        }
        let text = short(&self.of(condition));
        let value = |value: &bool| (value.to_string(), format!("`{text}` is {value}"));
        let values = values.iter().map(value).collect();
        self.instead(condition.span().byte_range(), values, |file| {
            file.visit_expr(condition)
        });
    }

    fn function(&mut self, name: &syn::Ident, signature: &syn::Signature, block: &Block) {
        if signature.constness.is_some() {
            return;
        }
        self.function.push(name.to_string());
        let values = match &signature.output {
            ReturnType::Default if block.stmts.len() < 2 => vec![],
            ReturnType::Default => vec![""],
            ReturnType::Type(_, result) => returned(result),
        };
        let start = block.brace_token.span.open().byte_range().end;
        for value in values {
            if let Some(number) = self.change(&(start..start), format!("return {value}")) {
                let text = format!(" if crate::mutant::is({number}) {{ return {value}; }}");
                self.insert(start, text, Some(number));
            }
        }
        self.visit_block(block);
        self.function.pop();
    }
}

fn contains_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => contains_let(&binary.left) || contains_let(&binary.right),
        _ => false,
    }
}

fn short(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(70) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Returns values to try for a result of this type.
fn returned(result: &Type) -> Vec<&'static str> {
    let Type::Path(path) = result else {
        return vec![];
    };
    match path
        .path
        .segments
        .last()
        .map(|last| last.ident.to_string())
        .as_deref()
    {
        Some("bool") => vec!["true", "false"],
        Some("u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" | "c_int") => vec!["0", "1"],
        Some("Option") => vec!["None"],
        Some("Result") => vec!["Ok(Default::default())"],
        _ => vec!["Default::default()"],
    }
}

fn other_operators(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Lt(_) => &["<=", ">="],
        BinOp::Le(_) => &["<", ">"],
        BinOp::Gt(_) => &[">=", "<="],
        BinOp::Ge(_) => &[">", "<"],
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-"],
        BinOp::Sub(_) => &["+"],
        BinOp::Mul(_) => &["/"],
        BinOp::Div(_) | BinOp::Rem(_) => &["*"],
        BinOp::BitAnd(_) => &["|"],
        BinOp::BitOr(_) | BinOp::BitXor(_) => &["&"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::AddAssign(_) => &["-="],
        BinOp::SubAssign(_) => &["+="],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&="],
        _ => &[],
    }
}

fn other_method(name: &str) -> Option<&'static str> {
    Some(match name {
        "min" => "max",
        "max" => "min",
        "saturating_add" => "saturating_sub",
        "saturating_sub" => "saturating_add",
        "any" => "all",
        "all" => "any",
        "is_some" => "is_none",
        "is_none" => "is_some",
        "is_ok" => "is_err",
        "is_err" => "is_ok",
        _ => return None,
    })
}

/// Methods whose receiver often has the type of the result.
const PASSED_OVER: &[&str] = &[
    "filter",
    "max",
    "min",
    "or",
    "or_else",
    "rev",
    "saturating_add",
    "saturating_mul",
    "saturating_sub",
    "skip",
    "take",
];

impl<'ast> Visit<'ast> for File<'_> {
    // Constants, types and patterns stay as they are.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, &item.sig, block);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let can_go = match statement {
            // Without `drop` what it ends stays borrowed, which is reported elsewhere.
            Stmt::Expr(_, Some(_)) => !self.of(statement).starts_with("drop("),
            Stmt::Expr(expression, None) => {
                matches!(
                    expression,
                    Expr::If(_)
                        | Expr::Match(_)
                        | Expr::ForLoop(_)
                        | Expr::While(_)
                        | Expr::Unsafe(_)
                )
            }
            Stmt::Macro(_) => true,
            _ => false,
        };
        let place = statement.span().byte_range();
        let what = format!("without `{}`", short(&self.of(statement)));
        let number = if can_go {
            self.change(&place, what)
        } else {
            None
        };
        if let Some(number) = number {
            self.insert(
                place.start,
                format!("if !crate::mutant::is({number}) {{ "),
                Some(number),
            );
        }
        visit::visit_stmt(self, statement);
        if number.is_some() {
            self.insert(place.end, " }".into(), None);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        let place = expression.span().byte_range();
        let text = short(&self.of(expression));
        let named = |value: String, what: &str| (value, format!("{what} in `{text}`"));
        match expression {
            Expr::Binary(binary) => {
                let (left, right) = (self.of(&*binary.left), self.of(&*binary.right));
                let assigns = self.of(&binary.op).ends_with('=')
                    && matches!(other_operators(&binary.op), ["-=" | "+=" | "|=" | "&="]);
                let changed = |other: &&str| {
                    let value = match assigns {
                        true => format!("{left} {other} {right}"),
                        false => format!("({left}) {other} ({right})"),
                    };
                    named(value, other)
                };
                let values = match contains_let(expression) {
                    true => vec![],
                    false => other_operators(&binary.op).iter().map(changed).collect(),
                };
                let neutral = match binary.op {
                    BinOp::And(_) => Some(true),
                    BinOp::Or(_) => Some(false),
                    _ => None,
                };
                self.instead(place, values, |file| match neutral {
                    Some(neutral) => {
                        file.condition(&binary.left, &[neutral]);
                        file.condition(&binary.right, &[neutral]);
                    }
                    None => visit::visit_expr(file, expression),
                });
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) => {
                let value = named(self.of(&*unary.expr), "without the sign");
                self.instead(place, vec![value], |file| file.visit_expr(&unary.expr));
            }
            Expr::Lit(literal) => {
                let values = match &literal.lit {
                    Lit::Int(number) => {
                        let (digits, suffix) = (number.base10_parse::<u64>(), number.suffix());
                        let near =
                            digits.map_or(vec![], |n| vec![n.checked_add(1), n.checked_sub(1)]);
                        let near = near.into_iter().flatten();
                        near.map(|n| (format!("{n}{suffix}"), format!("{n} for {text}")))
                            .collect()
                    }
                    Lit::Bool(bool) => vec![(
                        (!bool.value).to_string(),
                        format!("{} for {text}", !bool.value),
                    )],
                    _ => vec![],
                };
                self.instead(place, values, |_| ());
            }
            Expr::Call(call) if self.of(&*call.func) == "Some" => {
                let value = named("None".into(), "None");
                self.instead(place, vec![value], |file| {
                    visit::visit_expr(file, expression)
                });
            }
            Expr::MethodCall(call) => {
                let name = call.method.to_string();
                let (receiver, method) =
                    (self.of(&*call.receiver), call.method.span().byte_range());
                let mut values = Vec::new();
                if let Some(other) = other_method(&name) {
                    let value = format!(
                        "{}{other}{}",
                        &self.text[place.start..method.start],
                        &self.text[method.end..place.end]
                    );
                    values.push(named(value, other));
                }
                if PASSED_OVER.contains(&name.as_str()) {
                    values.push(named(receiver, &format!("without {name}")));
                }
                self.instead(place, values, |file| visit::visit_expr(file, expression));
            }
            Expr::If(if_) => {
                self.condition(&if_.cond, &[true, false]);
                self.visit_block(&if_.then_branch);
                if let Some((_, branch)) = &if_.else_branch {
                    self.visit_expr(branch);
                }
            }
            Expr::While(while_) => {
                self.condition(&while_.cond, &[false]);
                self.visit_block(&while_.body);
            }
            Expr::Match(match_) => {
                self.visit_expr(&match_.expr);
                let last = match_.arms.last().map(|arm| &arm.pat);
                let has_rest = match last {
                    Some(Pat::Wild(_)) => true,
                    Some(Pat::Ident(name)) => {
                        name.ident.to_string().starts_with(char::is_lowercase)
                    } // Not `None`.
                    _ => false,
                };
                for (index, arm) in match_.arms.iter().enumerate() {
                    let end = arm.pat.span().byte_range().end;
                    if let Some((_, guard)) = &arm.guard {
                        self.condition(guard, &[true, false]);
                    } else if has_rest && index + 1 < match_.arms.len() {
                        let pattern = short(&self.of(&arm.pat));
                        if let Some(number) =
                            self.change(&(end..end), format!("without arm `{pattern}`"))
                        {
                            self.insert(
                                end,
                                format!(" if !crate::mutant::is({number})"),
                                Some(number),
                            );
                        }
                    }
                    self.visit_expr(&arm.body);
                }
            }
            Expr::Repeat(repeat) => self.visit_expr(&repeat.expr),
            Expr::Macro(macro_) if macro_.mac.path.is_ident("api") => {
                if let Ok(Expr::Call(call)) = macro_.mac.parse_body::<Expr>() {
                    call.args
                        .iter()
                        .for_each(|argument| self.visit_expr(argument));
                }
            }
            _ => visit::visit_expr(self, expression),
        }
    }
}

impl File<'_> {
    /// Returns the changed text, and what was changed where.
    fn finish(mut self, name: &str) -> (String, Vec<Value>) {
        self.insertions.sort_by_key(|insertion| insertion.at); // Stable: outer ones open first.
        let (mut out, mut from) = (String::new(), 0);
        let mut codes = std::collections::BTreeMap::new();
        let mut moved = Vec::new(); // Offsets in the original, and in the copy before and after.
        for insertion in &self.insertions {
            out.push_str(&self.text[from..insertion.at]);
            from = insertion.at;
            let start = out.len();
            out.push_str(&insertion.text);
            moved.push((insertion.at, start, out.len()));
            insertion
                .change
                .map(|number| codes.insert(number, start..out.len()));
        }
        out.push_str(&self.text[from..]);
        let describe = |change: &Change| {
            let code = &codes[&change.number];
            let end = change.place.end;
            // The first insertion after the original's end lies after all that it contains.
            let after = moved.iter().take_while(|(at, ..)| *at <= end).last();
            let end = after
                .map_or(code.end, |(at, _, to)| to + (end - at))
                .max(code.end);
            let before = &self.text[..change.place.start];
            let line = before.matches('\n').count() + 1;
            let column = before
                .chars()
                .rev()
                .take_while(|&letter| letter != '\n')
                .count()
                + 1;
            json!({"number": change.number, "name": format!("{name}:{line}:{column}: {}", change.what),
                "code": [code.start, code.end], "whole": [code.start, end]})
        };
        let changes = self.changes.iter().map(describe).collect();
        (out, changes)
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    let below = |path: PathBuf| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    };
    let files = entries
        .into_iter()
        .filter(|path| !path.ends_with("src/limits"))
        .flat_map(below);
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, left_out] = &arguments[..] else {
        panic!("generate <src> <copy> <left out>");
    };
    let left_out = fs::read_to_string(left_out).unwrap_or_default();
    let left_out = left_out
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    let (mut next, mut all) = (0, Vec::new());
    for path in sources(Path::new(from)) {
        let text = fs::read_to_string(&path).expect("a source");
        let syntax = syn::parse_file(&text).expect("Rust");
        let mut file = File {
            text: &text,
            function: Vec::new(),
            next,
            left_out: &left_out,
            insertions: Vec::new(),
            changes: Vec::new(),
        };
        file.visit_file(&syntax);
        next = file.next;
        let name = path
            .strip_prefix(from)
            .expect("below it")
            .to_str()
            .expect("a name")
            .to_owned();
        let (mut text, changes) = file.finish(&format!("src/{name}"));
        if name == "lib.rs" {
            text.push_str("mod mutant;\n");
        }
        fs::write(Path::new(to).join(&name), text).expect("the copy is written");
        all.extend(changes);
    }
    println!("{}", Value::Array(all));
}
