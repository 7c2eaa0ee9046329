//! The way down: ranges of objects, taken up again where a line broke.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::Bytes;
use windlass_mover::storage::{BlobRange, StorageError, WHOLE_BLOB_LEN_MAX, locate};
use windlass_repo_format::id::BlobId;

use super::Inner;
use super::complaints::Failure;
use crate::arriving::{Arriving, REPLACED, broken};
use crate::patience::{Refusal, within};

const DOING: &str = "read";

impl Inner {
    pub(super) async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        let (offset, wanted) = match range {
            BlobRange::Whole => (0, None),
            BlobRange::Part { offset, len } => (offset, Some(len)),
        };
        let last = wanted.map(|len| offset.checked_add(len)?.checked_sub(1));
        if wanted.is_some_and(|len| len == 0 || len > WHOLE_BLOB_LEN_MAX) || last == Some(None) {
            // Nothing to fetch, or not to be fetched: the length says which.
            locate(id, range, self.metadata(id).await?.len)?;
            return Ok(Bytes::new());
        }
        let place = self.place(id);
        let mut arriving = Arriving::new(wanted);
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            if arriving.wanted.is_none() {
                // Of a length that was never told, nobody knows which bytes are missing.
                arriving.begin_again();
            }
            let had = arriving.got.len();
            let Err(refusal) = self.fetch(id, &place, offset, &mut arriving).await else {
                return Ok(arriving.got.freeze());
            };
            if let StorageError::OutOfRange { .. } = refusal.error {
                // The server says only that; the length is asked for.
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
    async fn fetch(&self, id: &BlobId, place: &str, offset: u64, arriving: &mut Arriving) -> Result<(), Refusal> {
        let from = offset + arriving.got.len() as u64;
        let asked_for = arriving
            .wanted
            .map(|wanted| format!("bytes={from}-{}", offset + wanted - 1));
        let is_part = asked_for.is_some();
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.keys.key(id.as_str()))
            .set_range(asked_for)
            .set_if_match(arriving.version.clone());
        let asked = self.encryption.of_read(request).send();
        let answer = match within(self.pace.silence_max(), DOING, place, asked).await? {
            Ok(answer) => answer,
            Err(error) => return Err(self.unread(Failure::of(error), id, place, offset, arriving)),
        };
        let total = total_len(&answer, is_part);
        let out_of_range = |actual| {
            Refusal::last(StorageError::OutOfRange {
                blob: id.clone(),
                offset,
                wanted: arriving.wanted.unwrap_or(actual),
                actual,
            })
        };
        match (arriving.wanted, total) {
            (Some(wanted), Some(total)) if offset + wanted > total => return Err(out_of_range(total)),
            (None, Some(total)) if total > WHOLE_BLOB_LEN_MAX => {
                return Err(Refusal::last(StorageError::TooLong {
                    blob: id.clone(),
                    actual: total,
                    limit: WHOLE_BLOB_LEN_MAX,
                }));
            }
            _ => {}
        }
        let version = answer.e_tag().map(str::to_owned);
        if arriving.version.is_some() && arriving.version != version {
            arriving.begin_again();
            return Err(broken(place, REPLACED));
        }
        arriving.version = version;
        if arriving.wanted.is_none() {
            arriving.wanted = total;
        }
        if is_part && !begins_at(&answer, from) {
            // A server that does not know ranges, or another part than was asked for: nothing of it can be used.
            return Err(Refusal::last(StorageError::Unsupported {
                what: "reading parts of objects",
                location: self.location.clone(),
            }));
        }
        self.take(answer, place, arriving).await
    }

    async fn take(&self, answer: GetObjectOutput, place: &str, arriving: &mut Arriving) -> Result<(), Refusal> {
        if arriving.is_complete() {
            return Ok(()); // an empty blob: there is no byte whose loss could be noticed
        }
        arriving.reserve();
        let mut body = answer.body;
        loop {
            let chunk = within(self.pace.silence_max(), DOING, place, body.next()).await?;
            match chunk {
                Some(Ok(chunk)) => {
                    if arriving.take(&chunk, place)? {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(Failure::Line(error.into()).refusal(DOING, place)),
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
            _ => failure.refusal_of_blob(DOING, place, id),
        }
    }
}

/// How long the whole object is.
fn total_len(answer: &GetObjectOutput, is_part: bool) -> Option<u64> {
    if is_part {
        let (_, total) = answer.content_range()?.rsplit_once('/')?;
        return total.parse().ok();
    }
    u64::try_from(answer.content_length()?).ok()
}

/// Whether an answer that is a part begins where it should.
fn begins_at(answer: &GetObjectOutput, from: u64) -> bool {
    let begin = || {
        answer
            .content_range()?
            .strip_prefix("bytes ")?
            .split_once('-')?
            .0
            .parse()
            .ok()
    };
    begin() == Some(from)
}
