//! The reading of the bucket's catalogue, page by page.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use windlass_mover::storage::{BlobMetadata, StorageError};

use super::complaints::Failure;
use super::{Inner, times};

/// Where a list goes on.
enum Next {
    First,
    After(String),
    End,
}

impl Inner {
    pub(super) fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        let pages = stream::try_unfold(Next::First, move |next| async move {
            let token = match next {
                Next::First => None,
                Next::After(token) => Some(token),
                Next::End => return Ok(None),
            };
            let page = self.page(prefix, token).await?;
            let next = match (page.is_truncated(), page.next_continuation_token()) {
                (Some(true), Some(token)) => Next::After(token.to_owned()),
                _ => Next::End,
            };
            let blobs: Vec<_> = page
                .contents()
                .iter()
                .filter_map(|object| self.listed(object))
                .map(Ok)
                .collect();
            Ok::<_, StorageError>(Some((stream::iter(blobs), next)))
        });
        pages.try_flatten().boxed()
    }

    fn listed(&self, object: &aws_sdk_s3::types::Object) -> Option<BlobMetadata> {
        Some(BlobMetadata {
            id: self.keys.blob(object.key()?)?,
            len: u64::try_from(object.size()?).ok()?,
            modified: times::timestamp(object.last_modified()?)?,
        })
    }

    async fn page(&self, prefix: &str, token: Option<String>) -> Result<ListObjectsV2Output, StorageError> {
        const DOING: &str = "list";
        let ask = || {
            self.client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(self.keys.key(prefix))
                // What lies in folders below belongs to somebody else.
                .delimiter("/")
                .set_continuation_token(token.clone())
                .send()
        };
        let judge = |error| Err(Failure::of(error).refusal(DOING, &self.location));
        self.pace
            .ask(DOING, &self.location, self.pace.silence_max(), ask, judge)
            .await
    }
}
