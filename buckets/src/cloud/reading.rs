//! The descent: ranges of objects of Google and Azure, taken up again where a line broke.

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, GetResult};
use windlass_mover::storage::{BlobRange, StorageError, WHOLE_BLOB_LEN_MAX, locate};
use windlass_repo_format::id::BlobId;

use super::Inner;
use super::complaints::Failure;
use crate::arriving::{Arriving, REPLACED, broken};
use crate::patience::{Again, Refusal, within};

const DOING: &str = "read";

impl Inner {
    pub(super) async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        let (offset, wanted) = match range {
            BlobRange::Whole => (0, None),
            BlobRange::Part { offset, len } => (offset, Some(len)),
        };
        let is_beyond = wanted.is_some_and(|len| offset.checked_add(len).is_none());
        if is_beyond || wanted.is_some_and(|len| len == 0 || len > WHOLE_BLOB_LEN_MAX) {
            // Nothing to fetch, or not to be fetched: the length says which.
            locate(id, range, self.metadata(id).await?.len)?;
            return Ok(Bytes::new());
        }
        let (key, place) = (self.key(id)?, self.place(id));
        let mut arriving = Arriving::new(wanted);
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            if arriving.wanted.is_none() {
                // Of a length that was never told, nobody knows which bytes are missing.
                arriving.begin_again();
            }
            let had = arriving.got.len();
            let Err(refusal) = self.fetch(id, &key, &place, offset, &mut arriving).await else {
                return Ok(arriving.got.freeze());
            };
            if refusal.again == Again::Never && wanted.is_some() && is_about_the_part(&refusal.error) {
                // Servers say it in many ways, none of which tells the length: it is asked for.
                locate(id, range, self.metadata(id).await?.len)?;
                return Err(refusal.error);
            }
            if arriving.got.len() > had {
                tries.progressed();
            }
            tries.again(refusal).await?;
        }
    }

    /// One answer's worth of what is missing.
    async fn fetch(
        &self,
        id: &BlobId,
        key: &Key,
        place: &str,
        offset: u64,
        arriving: &mut Arriving,
    ) -> Result<(), Refusal> {
        let from = offset + arriving.got.len() as u64;
        let asked_for = arriving.wanted.map(|wanted| GetRange::Bounded(from..offset + wanted));
        let options = GetOptions {
            range: asked_for.clone(),
            if_match: arriving.version.clone(),
            ..GetOptions::default()
        };
        let asked = self.client.objects().get_opts(key, options);
        let answer = match within(self.pace.silence_max(), DOING, place, asked).await? {
            Ok(answer) => answer,
            Err(error) => return Err(self.unread(Failure::of(error), id, place, offset, arriving)),
        };
        let total = answer.meta.size;
        match arriving.wanted {
            Some(wanted) if offset + wanted > total => {
                return Err(Refusal::last(StorageError::OutOfRange {
                    blob: id.clone(),
                    offset,
                    wanted,
                    actual: total,
                }));
            }
            None if total > WHOLE_BLOB_LEN_MAX => {
                return Err(Refusal::last(StorageError::TooLong {
                    blob: id.clone(),
                    actual: total,
                    limit: WHOLE_BLOB_LEN_MAX,
                }));
            }
            _ => {}
        }
        if arriving.version.is_some() && arriving.version != answer.meta.e_tag {
            arriving.begin_again();
            return Err(broken(place, REPLACED));
        }
        arriving.version.clone_from(&answer.meta.e_tag);
        arriving.wanted.get_or_insert(total);
        if asked_for.is_some() && answer.range.start != from {
            // Another part than was asked for: nothing of it can be used.
            return Err(Refusal::last(StorageError::Unsupported {
                what: "reading parts of objects",
                location: self.location.clone(),
            }));
        }
        self.take(answer, place, arriving).await
    }

    async fn take(&self, answer: GetResult, place: &str, arriving: &mut Arriving) -> Result<(), Refusal> {
        if arriving.is_complete() {
            return Ok(()); // an empty blob: there is no byte whose loss could be noticed
        }
        arriving.reserve();
        let mut body = answer.into_stream();
        loop {
            let chunk = within(self.pace.silence_max(), DOING, place, body.next()).await?;
            match chunk {
                Some(Ok(chunk)) => {
                    if arriving.take(&chunk, place)? {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(Failure::of(error).refusal(self.provider, DOING, place)),
                None => return arriving.end(place),
            }
        }
    }

    /// What an answer without a body means for what has arrived so far.
    fn unread(&self, failure: Failure, id: &BlobId, place: &str, offset: u64, arriving: &mut Arriving) -> Refusal {
        match failure.status() {
            412 if arriving.version.is_some() => {
                arriving.begin_again();
                broken(place, REPLACED)
            }
            416 => Refusal::last(StorageError::OutOfRange {
                blob: id.clone(),
                offset,
                wanted: arriving.wanted.unwrap_or(0),
                actual: 0,
            }),
            _ => failure.refusal_of_blob(self.provider, DOING, place, id),
        }
    }
}

/// Whether a part that is not there may be behind it.
fn is_about_the_part(error: &StorageError) -> bool {
    matches!(error, StorageError::OutOfRange { .. } | StorageError::Io { .. })
}
