//! The passenger list: a bucket of Google or Azure, a page of names at a time.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use windlass_mover::storage::{BlobMetadata, StorageError};
use windlass_repo_format::id::BlobId;

use super::complaints::Failure;
use super::{Inner, Provider, described};
use crate::patience::{Pace, within};

impl Inner {
    pub(super) fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        // The token of the next page, none for the first one; `None` behind the last one.
        let first = Some(None);
        let pages = stream::try_unfold(first, move |token: Option<Option<String>>| async move {
            let Some(token) = token else { return Ok(None) };
            let page = self.page("list", &self.pace, prefix, token).await?;
            let next = page.page_token.filter(|token| !token.is_empty()).map(Some);
            let blobs = page.result.objects.into_iter();
            let blobs: Vec<_> = blobs
                .filter_map(|object| Some(described(self.keys.blob(object.location.as_ref())?, &object)))
                .map(Ok)
                .collect();
            Ok::<_, StorageError>(Some((stream::iter(blobs), next)))
        });
        let exact = stream::once(self.of_that_name(prefix));
        let exact = exact.filter_map(async |found| found.transpose());
        exact.chain(pages.try_flatten()).boxed()
    }

    /// The blob that is called just like the prefix: the common client takes it for the mark of a folder in Azure's
    /// lists and leaves it out.
    async fn of_that_name(&self, prefix: &str) -> Result<Option<BlobMetadata>, StorageError> {
        let id = BlobId::from(prefix);
        if self.provider != Provider::Azure || prefix.is_empty() || self.key(&id).is_err() {
            return Ok(None);
        }
        match self.metadata(&id).await {
            Ok(blob) => Ok(Some(blob)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn page(
        &self,
        doing: &'static str,
        pace: &Pace,
        prefix: &str,
        token: Option<String>,
    ) -> Result<PaginatedListResult, StorageError> {
        let prefix = self.keys.key(prefix);
        let mut tries = pace.tries();
        loop {
            tries.gate().await;
            let options = PaginatedListOptions {
                // What lies in folders below belongs to somebody else.
                delimiter: Some("/".into()),
                page_token: token.clone(),
                ..PaginatedListOptions::default()
            };
            let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
            let asked = self.client.pages().list_paginated(prefix, options);
            let refusal = match within(pace.silence_max(), doing, &self.location, asked).await {
                Ok(Ok(page)) => return Ok(page),
                Ok(Err(error)) => {
                    let failure = Failure::of(error);
                    if failure.status() == 404 {
                        let place = self.location.clone();
                        return Err(StorageError::NoBucket { place });
                    }
                    failure.refusal(self.provider, doing, &self.location)
                }
                Err(silent) => silent,
            };
            tries.again(refusal).await?;
        }
    }
}
