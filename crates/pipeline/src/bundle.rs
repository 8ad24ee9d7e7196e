//! The bundle `model/`: the whole fitted chain in one artifact that needs no pipeline to predict.

use std::path::Path;

use retune_protocol::{BundleCard, LEVELS_FILE, Reading};
use retune_spec::Pipeline;
use retune_store::{ArtifactWriter, Digest, Store, StoreError};
use serde_json::json;

/// Copies fitted stages into a new bundle at `target`, with the words of training rows, where there is an object of them.
pub fn write_bundle(
    store: &Store,
    target: &Path,
    pipeline: &Pipeline,
    stages: &[(String, Digest)],
    levels: Option<Digest>,
) -> Result<(), StoreError> {
    let writer = ArtifactWriter::beside(target)?;
    let mut folders = Vec::with_capacity(stages.len());
    for (position, (id, digest)) in stages.iter().enumerate() {
        let folder = format!("{position}-{id}");
        if let Some(artifact) = store.object(digest)? {
            writer.embed(&folder, &artifact)?;
        }
        folders.push(folder);
    }
    writer.write_json(
        BundleCard::FILE,
        &BundleCard { pipeline: pipeline.name.clone(), stages: folders, reading: Reading::of(&pipeline.data) },
    )?;
    if let Some(levels) = levels.map(|levels| store.object(&levels)).transpose()?.flatten() {
        writer.write_bytes(LEVELS_FILE, &levels.read_bytes(LEVELS_FILE)?)?;
    }
    writer.publish_derived_at(target, BundleCard::KIND, BundleCard::KIND_VERSION, json!({}))?;
    Ok(())
}

/// Copies one fitted stage to a folder of the user's, which must not exist.
pub fn write_fitted(store: &Store, digest: &Digest, target: &Path) -> Result<(), StoreError> {
    let Some(artifact) = store.object(digest)? else {
        return Err(StoreError::NotAnArtifact { dir: store.root().to_owned() });
    };
    let writer = ArtifactWriter::beside(target)?;
    for file in &artifact.manifest().files {
        writer.write_bytes(&file.path, &artifact.read_bytes(&file.path)?)?;
    }
    let manifest = artifact.manifest();
    writer.publish_at(target, &manifest.kind, manifest.kind_version, manifest.meta.clone())?;
    Ok(())
}
