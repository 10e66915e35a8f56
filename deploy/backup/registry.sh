# Where a registry is, by the variables that it is configured with. Read by backup.sh and restore.sh.
node=${NODE:-node}
data=${WEIR_DATA_DIR:-./weir-data}

case ${WEIR_DATABASE_URL:-sqlite} in
  sqlite) postgres='' ;;
  *) postgres=$WEIR_DATABASE_URL ;;
esac

# Also when new bytes go to the disk: a registry that is moving has some in either place. Beside blobs/ there are pieces of uploads.
bucket=''
if [ -n "${WEIR_BLOBSTORE_S3_BUCKET:-}" ]; then
  bucket="s3://$WEIR_BLOBSTORE_S3_BUCKET/${WEIR_BLOBSTORE_S3_PREFIX:+$WEIR_BLOBSTORE_S3_PREFIX/}blobs"
fi

# Node reads further authorities when it starts, and at no other time.
if [ -n "${WEIR_BLOBSTORE_S3_CA_FILE:-}" ]; then
  export NODE_EXTRA_CA_CERTS="$WEIR_BLOBSTORE_S3_CA_FILE"
fi

# The SDK would say at every run that a later version of it will want a later version of Node.
export AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true
