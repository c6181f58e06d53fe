//! Finds out which fields of the facts an expression reads.

use super::{
    missing::chain,
    rewrite::{HAS, NOW},
    tree::{Literal, Tree},
};
use crate::reads::Reads;

/// Adds what is read below these roots.
pub(super) fn find(tree: &Tree, roots: &[String], reads: &mut Reads) {
    tree.walk(&mut Vec::new(), &mut |node, bound| {
        let Some(path) = path(node) else { return true };
        // Names may be spelled with a dot before them.
        let root = path.first().map(|root| root.trim_start_matches('.'));
        let is_fact = |root: &&str| !bound.contains(root) && roots.iter().any(|known| known == root);
        if root == Some(NOW) {
            reads.add(["now"]);
        }
        if let Some(root) = root.filter(is_fact) {
            reads.add(std::iter::once(root).chain(path.iter().skip(1).map(String::as_str)));
        }
        // The beginning of a path is no path of its own.
        false
    });
}

/// The fields from a root to what a node reads; none for a node that reads no single field.
fn path(node: &Tree) -> Option<Vec<String>> {
    if let Tree::Call {
        name,
        target: None,
        args,
    } = node
        && let ([operand, Tree::Literal(Literal::Text(field))], true) = (args.as_slice(), name == HAS)
    {
        let mut path = chain(operand)?;
        path.push(field.clone());
        return Some(path);
    }
    chain(node)
}
