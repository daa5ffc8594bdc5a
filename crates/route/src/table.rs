//! Routes compiled so that finding one costs the same among ten and ten thousand.
//!
//! Hosts are hashed (exact ones, then the parents of wildcards from the longest); each holds a tree of path
//! segments whose literal children are hashed. Only routes that share host and path, and differ in method,
//! header, query or network alone, are tried one after the other.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::pattern::{End, Host, HostPattern, MAX_HOST_BYTES, PathRank, next_segment};
use crate::when::{Request, When};

/// Finds the most specific route: exact host before the longest wildcard before any host; then the longest
/// literal path prefix, an exact path before a prefix; then the number of further conditions; then order.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<When>,
    exact: HashMap<Box<[u8]>, Tree>,
    below: HashMap<Box<[u8]>, Tree>,
    /// Most labels of a key of `below`: no longer parent is looked up, however many dots a host has.
    below_labels: usize,
    any: Tree,
}

/// Routes of one host, by path segment; node 0 is the root.
#[derive(Debug)]
struct Tree(Vec<Node>);

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<[u8]>, usize>,
    /// Longer segments are no child, and not worth hashing.
    longest_literal: usize,
    star: Option<usize>,
    here: Vec<usize>,
    slash: Vec<usize>,
    below: Vec<usize>,
}

impl RouteTable {
    /// Compiles routes; [`find`](Self::find) answers with indices into them.
    pub fn build(routes: &[When]) -> Self {
        let mut table = Self { routes: routes.to_vec(), ..Self::default() };
        for (index, route) in routes.iter().enumerate() {
            let tree = match route.host.as_ref().map(HostPattern::host) {
                Some(Host::Exact(name)) => table.exact.entry(name.as_bytes().into()).or_default(),
                Some(Host::Below(parent)) => {
                    table.below_labels = table.below_labels.max(parent.split('.').count());
                    table.below.entry(parent.as_bytes().into()).or_default()
                }
                None => &mut table.any,
            };
            tree.insert(index, route);
        }
        let trees = table.exact.values_mut().chain(table.below.values_mut()).chain([&mut table.any]);
        for node in trees.flat_map(|tree| &mut tree.0) {
            for list in [&mut node.here, &mut node.slash, &mut node.below] {
                list.sort_by_key(|index| (Reverse(routes[*index].further_conditions()), *index));
            }
        }
        table
    }

    /// The route that this request takes, as an index into the routes given to [`build`](Self::build).
    /// Allocates nothing.
    pub fn find(&self, request: &impl Request) -> Option<usize> {
        let mut buffer = [0_u8; MAX_HOST_BYTES];
        let host = folded(request.host(), &mut buffer);
        self.exact
            .get(host)
            .and_then(|tree| self.find_in(tree, request))
            .or_else(|| self.find_below(host, request))
            .or_else(|| self.find_in(&self.any, request))
    }

    /// Whether there is no route at all.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    fn find_below(&self, host: &[u8], request: &impl Request) -> Option<usize> {
        if self.below.is_empty() {
            return None;
        }
        let dots = host.iter().filter(|b| **b == b'.').count();
        let mut parents = host.iter().enumerate().filter(|(_, b)| **b == b'.').map(|(at, _)| at);
        // A parent of n labels begins at the n-th dot from the end.
        for _ in 0..dots.saturating_sub(self.below_labels) {
            parents.next();
        }
        parents
            .filter(|at| *at > 0)
            .filter_map(|at| self.below.get(&host[at + 1..]))
            .find_map(|tree| self.find_in(tree, request))
    }

    fn find_in(&self, tree: &Tree, request: &impl Request) -> Option<usize> {
        let path = request.path().as_bytes();
        let search = Search { routes: &self.routes, nodes: &tree.0, request };
        if path.first() == Some(&b'/') { search.literal(0, path) } else { search.first(&tree.0[0].below) }
    }
}

/// The host in lower case, without a final dot; empty, which no pattern is, when it is too long to be one.
fn folded<'b>(host: &str, buffer: &'b mut [u8; MAX_HOST_BYTES]) -> &'b [u8] {
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let Some(buffer) = buffer.get_mut(..host.len()) else { return &[] };
    buffer.copy_from_slice(host);
    buffer.make_ascii_lowercase();
    buffer
}

impl Default for Tree {
    fn default() -> Self {
        Self(vec![Node::default()])
    }
}

impl Tree {
    fn insert(&mut self, index: usize, route: &When) {
        let mut at = 0;
        let (segments, end) =
            route.path.as_ref().map_or((&[][..], End::Below), |path| (path.segments(), path.end()));
        for segment in segments {
            let fresh = self.0.len();
            let node = &mut self.0[at];
            at = match segment {
                None => *node.star.get_or_insert(fresh),
                Some(text) => {
                    node.longest_literal = node.longest_literal.max(text.len());
                    *node.literal.entry(text.as_bytes().into()).or_insert(fresh)
                }
            };
            if at == fresh {
                self.0.push(Node::default());
            }
        }
        let node = &mut self.0[at];
        match end {
            End::Here => node.here.push(index),
            End::Slash => node.slash.push(index),
            End::Below => node.below.push(index),
        }
    }
}

struct Search<'s, R> {
    routes: &'s [When],
    nodes: &'s [Node],
    request: &'s R,
}

impl<R: Request> Search<'_, R> {
    /// The best route at or below `at`, which literal segments alone led to: the longest literal prefix
    /// decides, so the first hit on the way back up is the best.
    fn literal(&self, at: usize, rest: &[u8]) -> Option<usize> {
        let node = &self.nodes[at];
        let Some((segment, tail)) = next_segment(rest) else {
            return self.first(node.ended(rest)).or_else(|| self.first(&node.below));
        };
        node.child(segment)
            .and_then(|child| self.literal(child, tail))
            .or_else(|| {
                let mut best = None;
                if let Some(star) = node.star {
                    self.any(star, tail, &mut best);
                }
                best.map(|(_, index)| index)
            })
            .or_else(|| self.first(&node.below))
    }

    /// Keeps the best route at or below `at`, which a `*` led to. The tree is walked once at most.
    fn any(&self, at: usize, rest: &[u8], best: &mut Option<(Rank, usize)>) {
        let node = &self.nodes[at];
        self.keep(&node.below, best);
        match next_segment(rest) {
            None => self.keep(node.ended(rest), best),
            Some((segment, tail)) => {
                for child in node.child(segment).into_iter().chain(node.star) {
                    self.any(child, tail, best);
                }
            }
        }
    }

    fn keep(&self, list: &[usize], best: &mut Option<(Rank, usize)>) {
        if let Some(index) = self.first(list) {
            let route = &self.routes[index];
            let rank = (route.path_rank(), route.further_conditions(), Reverse(index));
            if best.as_ref().is_none_or(|(known, _)| *known < rank) {
                *best = Some((rank, index));
            }
        }
    }

    fn first(&self, list: &[usize]) -> Option<usize> {
        list.iter().copied().find(|index| self.routes[*index].rest_matches(self.request))
    }
}

type Rank = (PathRank, usize, Reverse<usize>);

impl Node {
    fn child(&self, segment: &[u8]) -> Option<usize> {
        if segment.len() > self.longest_literal {
            return None;
        }
        self.literal.get(segment).copied()
    }

    /// The exact routes for a path of which `rest`, nothing or slashes, is left.
    fn ended(&self, rest: &[u8]) -> &[usize] {
        if rest.is_empty() { &self.here } else { &self.slash }
    }
}

#[cfg(test)]
mod tests;
