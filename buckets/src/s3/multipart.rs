//! The long way up: a body in parts, some of them at a time, put together by the server.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use windlass_mover::storage::StorageError;

use super::Inner;
use super::complaints::Failure;
use super::putting::{CONTENT_TYPE, DOING, Order, with_body_as_is};
use crate::patience::within;

/// Bytes of a part; longer where there would be too many. The last one is shorter.
const PART_LEN: usize = 8 << 20;
/// More parts than this are not accepted.
const PARTS_MAX: usize = 10_000;
/// Parts that are on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// An upload that the server waits for. It is called off when it is dropped: its parts would be kept, and paid for.
struct Open<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: &'a str,
    id: String,
    is_done: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let abort = self
            .client
            .abort_multipart_upload()
            .bucket(self.bucket)
            .key(self.key)
            .upload_id(std::mem::take(&mut self.id));
        if let Ok(runtime) = Handle::try_current() {
            // Nothing hangs on it: buckets are told to forget such uploads after some days.
            runtime.spawn(async move {
                abort
                    .send()
                    .await
                    .map_err(|error| tracing::debug!(%error, "an upload stays open"))
            });
        }
    }
}

impl Inner {
    pub(super) async fn put_in_parts(&self, order: &Order<'_>) -> Result<(), StorageError> {
        let mut upload = Open {
            client: &self.client,
            bucket: &self.bucket,
            key: &order.key,
            id: self.begin(order).await?,
            is_done: false,
        };
        let part_len = PART_LEN.max(order.body.len().div_ceil(PARTS_MAX));
        let parts = (0..order.body.len()).step_by(part_len).zip(1..).map(|(start, number)| {
            let end = order.body.len().min(start + part_len);
            self.put_part(order, &upload.id, number, order.body.slice(start..end))
        });
        let parts: Vec<CompletedPart> = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
        self.complete(order, &upload.id, parts).await?;
        upload.is_done = true;
        Ok(())
    }

    async fn begin(&self, order: &Order<'_>) -> Result<String, StorageError> {
        let ask = || {
            let (mode, until) = order.lock();
            let request = self
                .client
                .create_multipart_upload()
                .bucket(&self.bucket)
                .key(&order.key)
                .content_type(CONTENT_TYPE)
                .set_storage_class(self.storage_class())
                .set_object_lock_mode(mode)
                .set_object_lock_retain_until_date(until);
            self.encryption.of_upload(request).send()
        };
        let judge = |error| Err(self.refusal_of_put(Failure::of(error), order));
        let longest = self.pace.silence_max();
        let begun = self.pace.ask(DOING, &order.place, longest, ask, judge).await?;
        Ok(begun.upload_id.unwrap_or_default())
    }

    async fn put_part(
        &self,
        order: &Order<'_>,
        upload: &str,
        number: i32,
        body: Bytes,
    ) -> Result<CompletedPart, StorageError> {
        let md5 = order.checksum(&body).await?;
        let ask = || {
            let request = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(&order.key)
                .upload_id(upload)
                .part_number(number)
                .content_length(body.len() as i64)
                .set_content_md5(md5.clone())
                .body(ByteStream::from(body.clone()));
            with_body_as_is!(self, self.encryption.of_part(request)).send()
        };
        let judge = |error| Err(self.refusal_of_put(Failure::of(error), order));
        let longest = self.pace.answer_within(body.len());
        let put = self.pace.ask(DOING, &order.place, longest, ask, judge).await?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(put.e_tag)
            .build())
    }

    async fn complete(&self, order: &Order<'_>, upload: &str, parts: Vec<CompletedPart>) -> Result<(), StorageError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut tries = self.pace.tries();
        let mut may_be_done = false;
        loop {
            tries.gate().await;
            let request = self
                .client
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(&order.key)
                .upload_id(upload)
                .multipart_upload(parts.clone())
                .set_if_none_match(order.if_none_match());
            let asked = self.encryption.of_completion(request).send();
            let refusal = match within(self.pace.answer_within(order.body.len()), DOING, &order.place, asked).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => {
                    let failure = Failure::of(error);
                    let is_gone = failure.status() == 404;
                    if (is_gone && may_be_done) || (failure.status() == 412 && order.options.only_if_absent) {
                        // The server forgets an upload that it has put together.
                        return self.settle(order, may_be_done).await;
                    }
                    may_be_done |= failure.is_ambiguous();
                    self.refusal_of_put(failure, order)
                }
                Err(silent) => {
                    may_be_done = true;
                    silent
                }
            };
            tries.again(refusal).await?;
        }
    }
}
