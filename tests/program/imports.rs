//! What the program's modules know of each other: imports point downwards, and siblings do not import each
//! other in a circle.

use anyhow::{Context, ensure};
use longboat_tests::workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The modules by floor, as the design has them. Those of floor 1 do not know each other.
const FLOORS: [&[&str]; 5] = [
    &["job", "body", "policy", "config"],
    &["queue", "sandbox", "confinement", "fetch", "results"],
    &["execute"],
    &["worker", "server", "intake"],
    &["main", "cli", "commands", "output", "telemetry"],
];
/// Circles that may stay, as the test prints them. None should.
const CIRCLES: [&str; 0] = [];

/// A module's place: the names from the crate down to it.
type Place = Vec<String>;

/// The code of every module of `runner/src`, tests apart.
struct Modules(BTreeMap<Place, String>);

impl Modules {
    fn read() -> anyhow::Result<Self> {
        let mut modules = BTreeMap::from([(Vec::new(), String::new())]);
        Self::read_below(&workspace().join("runner/src"), &[], &mut modules)?;
        ensure!(modules.len() > 20, "the modules were not found");
        Ok(Self(modules))
    }

    fn read_below(directory: &Path, above: &[String], modules: &mut BTreeMap<Place, String>) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).context("file names here are text")?;
            let place = [above, &[name.to_owned()]].concat();
            if name == "tests" || name == "conformance" {
            } else if path.is_dir() {
                Self::read_below(&path, &place, modules)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_root = above.is_empty() && name == "lib";
                modules
                    .insert(if is_root { Vec::new() } else { place }, without_tests(&std::fs::read_to_string(&path)?));
            }
        }
        Ok(())
    }

    /// What a module imports or names: the places of other modules.
    fn known_by(&self, place: &Place) -> BTreeSet<Place> {
        let code = &self.0[place];
        let paths = paths(code).into_iter().filter_map(|path| self.absolute(place, &path));
        paths.map(|path| self.module_of(&path, 0)).filter(|other| other != place).collect()
    }

    /// A path from the crate's root, if it begins with something of this crate.
    fn absolute(&self, place: &Place, path: &[String]) -> Option<Place> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([place, &path[1..]].concat()),
            "super" => Some([&place[..place.len().checked_sub(ups)?], &path[ups..]].concat()),
            child if self.0.contains_key(&[&place[..], &[child.to_owned()]].concat()) => Some([place, path].concat()),
            _ => None,
        }
    }

    /// The module in which what a path names is written: re-exports are followed.
    fn module_of(&self, path: &[String], depth: usize) -> Place {
        let mut place = Vec::new();
        for (at, part) in path.iter().enumerate() {
            let deeper = [&place[..], std::slice::from_ref(part)].concat();
            if self.0.contains_key(&deeper) {
                place = deeper;
                continue;
            }
            let imports = self.0.get(&place).map(|code| paths(code)).unwrap_or_default();
            let through = imports.into_iter().filter(|import| import.len() > 1 && import.last() == Some(part));
            let target = through.filter_map(|import| self.absolute(&place, &import)).find(|target| {
                target.len() > place.len() + 1 && target.starts_with(&place) && target[..] != path[..=at]
            });
            return match target {
                Some(target) if depth < 8 => self.module_of(&target, depth + 1),
                _ => place,
            };
        }
        place
    }

    /// The circles among the children of each module, with one import for each step.
    fn circles(&self) -> Vec<String> {
        let mut steps: BTreeMap<Place, BTreeMap<String, BTreeMap<String, String>>> = BTreeMap::new();
        for place in self.0.keys() {
            for other in self.known_by(place) {
                let common = place.iter().zip(&other).take_while(|(one, two)| one == two).count();
                if let (Some(from), Some(to)) = (place.get(common), other.get(common)) {
                    let how = format!("{} knows {}", place.join("::"), other.join("::"));
                    let siblings = steps.entry(place[..common].to_vec()).or_default();
                    siblings.entry(from.clone()).or_default().entry(to.clone()).or_insert(how);
                }
            }
        }
        let mut circles = Vec::new();
        for (parent, known) in &steps {
            let mut seen = BTreeSet::new();
            for name in known.keys() {
                let circle: BTreeSet<_> =
                    reached(known, name).into_iter().filter(|other| reached(known, other).contains(name)).collect();
                if circle.contains(name) && seen.insert(circle.clone()) {
                    let parent = if parent.is_empty() { "the crate".to_owned() } else { parent.join("::") };
                    let names = circle.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    circles.push(format!("{parent}: {names}"));
                    let inside = |name: &&String| circle.contains(*name);
                    for (from, to) in known.iter().filter(|(from, _)| inside(from)) {
                        circles.extend(
                            to.iter().filter(|(to, _)| inside(to) && *to != from).map(|(_, how)| format!("  {how}")),
                        );
                    }
                }
            }
        }
        circles
    }
}

/// The names that can be reached from one in one step or more.
fn reached(known: &BTreeMap<String, BTreeMap<String, String>>, from: &str) -> BTreeSet<String> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = waiting.pop() {
        for other in known.get(&name).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(other.clone()) {
                waiting.push(other.clone());
            }
        }
    }
    found
}

/// Code without comments, and without what is compiled for tests only.
fn without_tests(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut lines = text.lines();
    let mut code = String::new();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            lines.next();
        } else if !line.trim_start().starts_with("//") {
            code.extend([line, "\n"]);
        }
    }
    code
}

/// Every path that is imported, and every one that begins with `crate` or `super`, lists taken apart. A glob
/// ends in the module that it takes from.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["use ", "crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let path = if start == "use " { &code[at + start.len()..] } else { &code[at..] };
            if is_word {
                take(path, &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Takes one path, or a list of paths in braces, from the beginning of a text; what is left of it.
fn take<'t>(text: &'t str, above: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let (depth, mut rest) = (above.len(), text.trim_start());
    loop {
        if let Some(mut list) = rest.strip_prefix('{') {
            while !list.trim_start().is_empty() && !list.trim_start().starts_with('}') {
                let before = list.len();
                list = take(list, above, found).trim_start().trim_start_matches(',');
                if list.len() == before {
                    break;
                }
            }
            above.truncate(depth);
            return list.trim_start().strip_prefix('}').unwrap_or(list);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !name.is_empty() && (name != "self" || above.is_empty()) {
            above.push(name.to_owned());
        }
        match after.strip_prefix("::") {
            Some(deeper) if !name.is_empty() => rest = deeper,
            _ => {
                if above.len() > depth || name == "self" || rest.starts_with('*') {
                    found.push(above.clone());
                }
                above.truncate(depth);
                let after = after.strip_prefix('*').unwrap_or(after);
                return match after.trim_start().strip_prefix("as ") {
                    Some(alias) => &alias[alias.find([',', ';', '}']).unwrap_or(alias.len())..],
                    None => after,
                };
            }
        }
    }
}

#[test]
fn paths_are_found_however_they_are_imported() {
    let found = |code: &str| paths(code).iter().map(|path| path.join("::")).collect::<BTreeSet<_>>();
    let code = "use crate::job::{Job, verdict::{self, Kind as K}};\nuse super::*;\nlet x = crate::body::Body::new();";
    let names =
        ["crate::job::Job", "crate::job::verdict", "crate::job::verdict::Kind", "super", "crate::body::Body::new"];
    assert_eq!(found(code), names.map(str::to_owned).into());
    assert_eq!(found("pub use tree::Tree;\nlet own_crate::a = 1;"), ["tree::Tree".to_owned()].into());
    assert_eq!(without_tests("a\n// b\n#[cfg(test)]\nuse c;\nd\n#[cfg(test)]\nmod tests {\n}\n"), "a\nd\n");
}

#[test]
fn imports_point_downwards_only() -> anyhow::Result<()> {
    let modules = Modules::read()?;
    let floor_of = |name: &String| FLOORS.iter().position(|floor| floor.contains(&name.as_str()));
    let mut wrong = Vec::new();
    for (place, name) in modules.0.keys().filter_map(|place| Some((place, place.first()?))) {
        let floor = floor_of(name).with_context(|| format!("{name} has no floor"))?;
        for other in modules.known_by(place) {
            let Some(below) = other.first().filter(|other| *other != name).and_then(floor_of) else { continue };
            if below > floor || (below == floor && floor == 1) {
                wrong.push(format!("{} must not know {}", place.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn no_circles_between_siblings() -> anyhow::Result<()> {
    let circles = Modules::read()?.circles();
    let is_known = |line: &&String| line.starts_with(' ') || CIRCLES.contains(&line.as_str());
    assert!(circles.iter().all(|line| is_known(&line)), "\n{}", circles.join("\n"));
    Ok(())
}
