//! The reservation desk: a session says that it is at work, so that clean-up by others spares what no index names yet.

use jiff::Timestamp;
use tracing::debug;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::session::SessionMarker;

use super::{WriteSession, lock};
use crate::error::{MoverError, Result};

/// A session marker older than this is written anew: clean-up spares packs for 96 hours after it.
const MARKER_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_hours(12);

/// After so long without a marker the packs of a session may be gone: six hours are left for clocks that differ, and for the
/// clean-up itself.
const SPARED_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(90);

/// What a session has said of itself so far.
#[derive(Debug)]
pub(super) struct Marker {
    blobs: Vec<BlobId>,
    start: Timestamp,
    written: Timestamp,
}

impl WriteSession {
    /// Makes sure that clean-up by others spares the packs of this session while no index names them.
    ///
    /// # Errors
    /// [`MoverError::SessionAsleep`] when nothing was heard of the session for so long that they may be gone: a machine that
    /// was put to sleep must not publish an index of them.
    pub(super) async fn write_marker(&self) -> Result<()> {
        let mut marker = self.marker.lock().await;
        let now = self.repository.now();
        if marker
            .as_ref()
            .is_some_and(|marker| now.duration_since(marker.written) < MARKER_EVERY)
        {
            return Ok(());
        }
        let silent = marker.as_ref().map(|marker| now.duration_since(marker.written));
        if let Some(silent) = silent.filter(|silent| *silent >= SPARED_FOR)
            && lock(&self.pending).stored > 0
        {
            self.fail();
            return Err(MoverError::SessionAsleep {
                hours: silent.as_hours(),
            });
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
