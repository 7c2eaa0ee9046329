//! The lock smith of the bucket: how the server encrypts what it keeps, beneath the repository's own encryption.

use std::fmt;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::head_object::builders::HeadObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder;
use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_types::base64;
use md5::{Digest, Md5};

/// How the server is to encrypt objects.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket is set up.
    #[default]
    OfBucket,
    /// With keys that S3 keeps (`AES256`).
    Managed,
    /// With a key of the key management service; its default key where no other is named.
    Kms {
        /// Name or ARN of the key.
        key_id: Option<String>,
    },
    /// With a key that the client sends with each request (SSE-C).
    Customer {
        /// The key.
        key: [u8; 32],
    },
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfBucket => f.write_str("OfBucket"),
            Self::Managed => f.write_str("Managed"),
            Self::Kms { key_id } => f.debug_struct("Kms").field("key_id", key_id).finish(),
            Self::Customer { .. } => f.write_str("Customer"),
        }
    }
}

/// The three headers of a key that comes with each request; every kind of request has them in a type of its own.
macro_rules! with_customer_key {
    ($encryption:expr, $request:ident) => {
        match $encryption {
            Encryption::Customer { key } => $request
                .sse_customer_algorithm("AES256")
                .sse_customer_key(base64::encode(key))
                .sse_customer_key_md5(base64::encode(Md5::digest(key))),
            _ => $request,
        }
    };
}

/// Leaves out what answers repeat of a key that was sent: some servers do so twice, which the client takes for a fault.
#[derive(Debug)]
pub(super) struct WithoutEchoes;

impl Intercept for WithoutEchoes {
    fn name(&self) -> &'static str {
        "WithoutEchoes"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        for echo in ["algorithm", "key-md5"] {
            let name = format!("x-amz-server-side-encryption-customer-{echo}");
            context.response_mut().headers_mut().remove(name);
        }
        Ok(())
    }
}

impl Encryption {
    fn of_server(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match self {
            Self::OfBucket | Self::Customer { .. } => (None, None),
            Self::Managed => (Some(ServerSideEncryption::Aes256), None),
            Self::Kms { key_id } => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
        }
    }

    pub(super) fn of_put(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        let (kind, key_id) = self.of_server();
        let request = request.set_server_side_encryption(kind).set_ssekms_key_id(key_id);
        with_customer_key!(self, request)
    }

    pub(super) fn of_upload(&self, request: CreateMultipartUploadFluentBuilder) -> CreateMultipartUploadFluentBuilder {
        let (kind, key_id) = self.of_server();
        let request = request.set_server_side_encryption(kind).set_ssekms_key_id(key_id);
        with_customer_key!(self, request)
    }

    pub(super) fn of_part(&self, request: UploadPartFluentBuilder) -> UploadPartFluentBuilder {
        with_customer_key!(self, request)
    }

    pub(super) fn of_completion(
        &self,
        request: CompleteMultipartUploadFluentBuilder,
    ) -> CompleteMultipartUploadFluentBuilder {
        with_customer_key!(self, request)
    }

    pub(super) fn of_read(&self, request: GetObjectFluentBuilder) -> GetObjectFluentBuilder {
        with_customer_key!(self, request)
    }

    pub(super) fn of_head(&self, request: HeadObjectFluentBuilder) -> HeadObjectFluentBuilder {
        with_customer_key!(self, request)
    }
}
