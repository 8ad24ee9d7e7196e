//! What depends on what.

use retune_spec::pipeline::{DATA, Pipeline};
use retune_spec::{Document, StageKind};

use crate::run_folder::NodeSummary;

/// The position of a node in its graph.
pub type NodeId = usize;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reads and divides the data.
    Read,
    /// Fits the stage at this position in the pipeline.
    Fit(usize),
    /// Scores the models that end in the stage at this position.
    Evaluate(usize),
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the user calls it: a stage's id, `data`, or `evaluate ID`.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// The nodes whose results it needs.
    pub needs: Vec<NodeId>,
}

/// Everything that a pipeline does, each node after those that it needs.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The nodes in an order in which they can be done.
    pub nodes: Vec<Node>,
    inputs: Vec<Option<usize>>,
}

impl Graph {
    /// The graph of a checked pipeline.
    pub fn of(pipeline: &Pipeline) -> Self {
        let inputs: Vec<Option<usize>> = (0..pipeline.stages.len()).map(|stage| input_of(pipeline, stage)).collect();
        let order = order(&inputs);
        let mut nodes = vec![Node { name: DATA.to_owned(), work: Work::Read, needs: Vec::new() }];
        let node_of =
            |nodes: &[Node], stage: usize| nodes.iter().position(|node| node.work == Work::Fit(stage)).unwrap_or(0);
        for &stage in &order {
            let mut needs = vec![inputs[stage].map_or(0, |input| node_of(&nodes, input))];
            if !needs.contains(&0) && matches!(pipeline.stages[stage].kind, StageKind::ModelSelection(_)) {
                needs.push(0);
            }
            nodes.push(Node { name: pipeline.stages[stage].id.clone(), work: Work::Fit(stage), needs });
        }
        for &stage in &order {
            let is_leaf = !inputs.contains(&Some(stage));
            if is_leaf && pipeline.stages[stage].kind.is_model() {
                let mut needs = vec![0];
                let mut upstream = Some(stage);
                while let Some(stage) = upstream {
                    needs.push(node_of(&nodes, stage));
                    upstream = inputs[stage];
                }
                nodes.push(Node {
                    name: format!("evaluate {}", pipeline.stages[stage].id),
                    work: Work::Evaluate(stage),
                    needs,
                });
            }
        }
        Self { nodes, inputs }
    }

    /// What a node is: the word after `uses:`, `read` or `evaluate`.
    pub fn kind(&self, document: &Document, node: NodeId) -> &'static str {
        match self.nodes[node].work {
            Work::Read => "read",
            Work::Evaluate(_) => "evaluate",
            Work::Fit(stage) => document.pipeline.stages[stage].kind.word(),
        }
    }

    /// The nodes as `run.json` names them.
    pub fn summary(&self, document: &Document) -> Vec<NodeSummary> {
        let name = |node: &NodeId| self.nodes[*node].name.clone();
        let summary = |node: NodeId| NodeSummary {
            name: name(&node),
            kind: self.kind(document, node).to_owned(),
            needs: self.nodes[node].needs.iter().map(name).collect(),
        };
        (0..self.nodes.len()).map(summary).collect()
    }

    /// The stage that a stage takes its rows or its base from; `None` for the data.
    pub fn input(&self, stage: usize) -> Option<usize> {
        self.inputs[stage]
    }

    /// The stages from the data to this one, itself included, in their order.
    pub fn lineage(&self, stage: usize) -> Vec<usize> {
        let mut lineage = vec![stage];
        let mut upstream = self.inputs[stage];
        while let Some(stage) = upstream {
            lineage.push(stage);
            upstream = self.inputs[stage];
        }
        lineage.reverse();
        lineage
    }

    /// The node that fits a stage.
    pub fn node_of_stage(&self, stage: usize) -> NodeId {
        self.nodes.iter().position(|node| node.work == Work::Fit(stage)).unwrap_or(0)
    }

    /// The node and everything that it needs, directly or not.
    pub fn ancestors(&self, node: NodeId) -> Vec<NodeId> {
        self.closure(node, |graph, node| graph.nodes[node].needs.clone())
    }

    /// The node and everything that needs it, directly or not.
    pub fn descendants(&self, node: NodeId) -> Vec<NodeId> {
        self.closure(node, |graph, node| {
            (0..graph.nodes.len()).filter(|&other| graph.nodes[other].needs.contains(&node)).collect()
        })
    }

    fn closure(&self, start: NodeId, next: impl Fn(&Self, NodeId) -> Vec<NodeId>) -> Vec<NodeId> {
        let mut found = vec![start];
        let mut i = 0;
        while i < found.len() {
            for node in next(self, found[i]) {
                if !found.contains(&node) {
                    found.push(node);
                }
            }
            i += 1;
        }
        found.sort_unstable();
        found
    }
}

fn input_of(pipeline: &Pipeline, stage: usize) -> Option<usize> {
    pipeline.stage(pipeline.input_of(stage)).map(|(input, _)| input)
}

/// The stages so that each comes after its input. The pipeline was checked: there is no cycle.
fn order(inputs: &[Option<usize>]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(inputs.len());
    while order.len() < inputs.len() {
        let before = order.len();
        for (stage, input) in inputs.iter().enumerate() {
            if !order.contains(&stage) && input.is_none_or(|input| order.contains(&input)) {
                order.push(stage);
            }
        }
        if order.len() == before {
            break;
        }
    }
    order
}
