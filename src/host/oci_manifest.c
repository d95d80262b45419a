/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: which blobs a snapshot is made of.
 *
 * Pure, and allocates nothing but the texts that it writes.
 */
#include "host/oci_text.h"

#include <inttypes.h>
#include <string.h>

#include "host/error.h"

static enum kaon_status fail_media(const char *media, struct kaon_error *err)
{
    return kaon__fail(err, KAON_ESNAPSHOT,
                      "the manifest has a \"%s\", which libkaon %s does not "
                      "know: is it a snapshot, of this version?",
                      media, KAON_VERSION);
}

static enum kaon_status add_layer(struct kaon_manifest *out,
                                  const struct kaon_descriptor *layer,
                                  struct kaon_error *err)
{
    struct kaon_blob *to;
    bool pages = strcmp(layer->media, KAON_MEDIA_PAGES) == 0;

    if (strcmp(layer->media, KAON_MEDIA_GUEST) == 0)
        to = &out->guest;
    else if (strcmp(layer->media, KAON_MEDIA_MAP) == 0)
        to = &out->map;
    else if (strcmp(layer->media, KAON_MEDIA_MAPPED) == 0)
        to = &out->mapped;
    else if (pages && out->layer_count < KAON_OCI_LAYERS_MAX)
        to = &out->layers[out->layer_count++];
    else if (pages)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest has more than %u layers of pages",
                          KAON_OCI_LAYERS_MAX);
    else
        return fail_media(layer->media, err);
    if (to->size)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest has two blobs of \"%s\"", layer->media);
    if (layer->has_size && layer->size == 0)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest has an empty \"%s\"", layer->media);
    return kaon__oci_to_blob(to, layer, "the manifest", err);
}

/* The first failure of either kind ends it: damaged text, or a wrong layer. */
static enum kaon_status read_layers(struct kaon_json *json,
                                    struct kaon_manifest *out,
                                    struct kaon_error *err)
{
    struct kaon_descriptor layer;
    enum kaon_status status;

    kaon__json_array(json);
    while (kaon__json_item(json)) {
        kaon__oci_read_descriptor(json, &layer);
        status = json->error ? KAON_OK : add_layer(out, &layer, err);
        if (status)
            return status;
    }
    return KAON_OK;
}

static enum kaon_status check_config(struct kaon_manifest *out,
                                     const struct kaon_descriptor *config,
                                     const char *artifact,
                                     struct kaon_error *err)
{
    if (artifact[0] && strcmp(artifact, KAON_MEDIA_SNAPSHOT) != 0)
        return fail_media(artifact, err);
    if (strcmp(config->media, KAON_MEDIA_CONFIG) != 0)
        return fail_media(config->media, err);
    return kaon__oci_to_blob(&out->config, config, "the manifest", err);
}

/* Each is at most KAON_OCI_SIZE_MAX, so that the sum cannot overflow. */
static enum kaon_status check_sizes(const struct kaon_manifest *manifest,
                                    struct kaon_error *err)
{
    uint64_t sum = manifest->guest.size + manifest->map.size;

    for (uint32_t i = 0; i <= manifest->layer_count; i++) {
        uint64_t size = i < manifest->layer_count ? manifest->layers[i].size
                                                  : manifest->mapped.size;

        if (size % KAON_OCI_PAGE)
            return kaon__fail(err, KAON_ESNAPSHOT,
                              "the manifest has %" PRIu64
                              " bytes of pages: these are no whole pages",
                              size);
        sum += size;
    }
    if (sum > KAON_OCI_SIZE_MAX || manifest->guest.size > KAON_OCI_GUEST_MAX ||
        manifest->map.size > KAON_OCI_MAP_MAX)
        return kaon__fail(err, KAON_ESNAPSHOT,
                          "the manifest speaks of a guest of %" PRIu64
                          " bytes, a map of %" PRIu64 ", and %" PRIu64
                          " in all: no snapshot has as many",
                          manifest->guest.size, manifest->map.size, sum);
    return KAON_OK;
}

enum kaon_status kaon__oci_read_manifest(struct kaon_manifest *out,
                                         const char *text, size_t size,
                                         struct kaon_error *err)
{
    enum { SCHEMA = 1, TYPE = 2, CONFIG = 4, LAYERS = 8, MEDIA_TYPE = 16 };
    struct kaon_descriptor config = { 0 };
    char artifact[96] = "", media[96] = KAON_MEDIA_MANIFEST;
    enum kaon_status status = KAON_OK;
    struct kaon_json json;
    unsigned seen = 0;

    *out = (struct kaon_manifest){ 0 };
    kaon__json_begin(&json, text, size);
    kaon__json_object(&json);
    while (!status && kaon__json_key(&json))
        if (kaon__oci_is(&json, "schemaVersion", &seen, SCHEMA))
            kaon__oci_schema(&json);
        else if (kaon__oci_is(&json, "mediaType", &seen, MEDIA_TYPE))
            kaon__oci_words(&json, media, sizeof media);
        else if (kaon__oci_is(&json, "artifactType", &seen, TYPE))
            kaon__oci_words(&json, artifact, sizeof artifact);
        else if (kaon__oci_is(&json, "config", &seen, CONFIG))
            kaon__oci_read_descriptor(&json, &config);
        else if (kaon__oci_is(&json, "layers", &seen, LAYERS))
            status = read_layers(&json, out, err);
        else
            kaon__json_skip(&json);
    if (status)
        return status;
    if (!kaon__json_end(&json))
        return kaon__oci_damaged(&json, "the manifest", err);
    if (!(seen & SCHEMA) || strcmp(media, KAON_MEDIA_MANIFEST) != 0)
        return fail_media(media, err);
    status = check_config(out, &config, artifact, err);
    if (!status && out->guest.size == 0)
        status = kaon__fail(err, KAON_ESNAPSHOT, "the manifest has no \"%s\"",
                            KAON_MEDIA_GUEST);
    return status ? status : check_sizes(out, err);
}

void kaon__oci_write_manifest(struct kaon_json_text *text,
                              const struct kaon_manifest *manifest)
{
    kaon__json_put_object(text, NULL);
    kaon__json_put_u64(text, "schemaVersion", 2);
    kaon__json_put_string(text, "mediaType", KAON_MEDIA_MANIFEST);
    kaon__json_put_string(text, "artifactType", KAON_MEDIA_SNAPSHOT);
    kaon__oci_put_blob(text, "config", KAON_MEDIA_CONFIG, &manifest->config);
    kaon__json_put_array(text, "layers");
    kaon__oci_put_blob(text, NULL, KAON_MEDIA_GUEST, &manifest->guest);
    if (manifest->map.size)
        kaon__oci_put_blob(text, NULL, KAON_MEDIA_MAP, &manifest->map);
    for (uint32_t i = 0; i < manifest->layer_count; i++)
        kaon__oci_put_blob(text, NULL, KAON_MEDIA_PAGES, &manifest->layers[i]);
    if (manifest->mapped.size)
        kaon__oci_put_blob(text, NULL, KAON_MEDIA_MAPPED, &manifest->mapped);
    kaon__json_put_array_end(text);
    kaon__json_put_object_end(text);
}
