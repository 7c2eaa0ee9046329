//! The reservation desk: a session says that it is at work, so that clean-up by others spares what no index names yet.

use jiff::Timestamp;
use tracing::debug;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::session::SessionMarker;

use super::WriteSession;
use crate::error::Result;

/// A session marker older than this is written anew: clean-up spares packs for 96 hours after it.
const MARKER_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_hours(12);

/// What a session has said of itself so far.
#[derive(Debug)]
pub(super) struct Marker {
    blobs: Vec<BlobId>,
    start: Timestamp,
    written: Timestamp,
}

impl WriteSession {
    /// Makes sure that clean-up by others spares the packs of this session while no index names them.
    pub(super) async fn write_marker(&self) -> Result<()> {
        let mut marker = self.marker.lock().await;
        let now = self.repository.now();
        if marker
            .as_ref()
            .is_some_and(|marker| now.duration_since(marker.written) < MARKER_EVERY)
        {
            return Ok(());
        }
        let start = marker.as_ref().map_or(now, |marker| marker.start);
        let identity = self.repository.identity();
        let text = SessionMarker {
            id: self.id.clone(),
            start_time: start,
            checkpoint_time: now,
            username: identity.user.clone(),
            hostname: identity.host.clone(),
        };
        let nonce = self.repository.random_bytes();
        let (blob, bytes) = self
            .repository
            .sealer()
            .seal_blob("s", &self.id.to_string(), &nonce, &text.to_json());
        self.put(&blob, bytes.into()).await?;
        let marker = marker.get_or_insert_with(|| Marker {
            blobs: Vec::new(),
            start,
            written: now,
        });
        marker.written = now;
        marker.blobs.push(blob);
        Ok(())
    }

    /// Removes the session's markers. A marker that stays costs nothing but a delay in the clean-up of its packs.
    pub(super) async fn remove_markers(&self) {
        let Some(marker) = self.marker.lock().await.take() else {
            return;
        };
        for blob in marker.blobs {
            if let Err(error) = self.repository.storage().delete(&blob).await {
                debug!(%blob, %error, "the session's marker stays");
            }
        }
    }
}
