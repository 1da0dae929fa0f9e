// Queries of front ends of the older schemas, as supabase-js writes them (`supabase.from` is this client), and the logger
// of image jobs. `node queries.mjs` runs all on URL with TOKEN, and prints what each answered, by name.

import { PostgrestClient } from "@supabase/postgrest-js";

const { URL, TOKEN } = process.env;
const { job, generation, user, stranger, path, runId } = JSON.parse(process.env.VALUES);
const supabase = new PostgrestClient(URL, { headers: TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {} });

class ImageGenerationLogger {
  static async #log(level, jobId, userId, step, message, details) {
    return supabase
      .from("image_generation_logs")
      .insert({ job_id: jobId, user_id: userId, level, step, message, details })
      .select()
      .single();
  }
  static info = (...args) => this.#log("info", ...args);
  static success = (...args) => this.#log("success", ...args);
  static warning = (...args) => this.#log("warning", ...args);
  static error = (...args) => this.#log("error", ...args);
}

const error = { message: "timeout" };
const storagePath = "jobs/1.jpg";
const line = { job_id: job, user_id: user, level: "info", step: "upload", message: "from the browser" };

const QUERIES = {
  // image jobs
  jobs: () => supabase.from("image_generation_jobs").select("*").order("created_at", { ascending: false }).limit(50),
  jobs_named: () => supabase.from("image_generation_jobs").select("id,name").ilike("name", "%spring%"),
  jobs_with_prompt: () => supabase.from("image_generation_jobs").select("id").or("name.ilike.%nothing%,prompt.ilike.%a cup%"),
  jobs_partial: () => supabase.from("image_generation_jobs").select("id").eq("status", "completed_partial"),
  jobs_under_way: () => supabase.from("image_generation_jobs").select("id").in("status", ["queued", "processing"]),
  jobs_counted: () => supabase.from("image_generation_jobs").select("*", { count: "exact", head: true }),
  job: () => supabase.from("image_generation_jobs").select("*").eq("id", job).single(),
  job_status: () => supabase.from("image_generation_jobs").select("status,progress,message,completed_at").eq("id", job).maybeSingle(),
  job_of_nobody: () => supabase.from("image_generation_jobs").select("*").eq("id", stranger).maybeSingle(),
  job_must_be_there: () => supabase.from("image_generation_jobs").select("*").eq("id", stranger).single(),
  // their pictures
  images: () => supabase.from("generated_images").select("*").eq("job_id", job).order("carousel_index").order("image_index"),
  images_second_page: () =>
    supabase.from("generated_images").select("carousel_index,image_index", { count: "exact" }).eq("job_id", job)
      .order("carousel_index").order("image_index").range(2, 3),
  images_of_variant: () => supabase.from("generated_images").select("image_index,url:generated_image_url").eq("job_id", job).eq("carousel_index", 1).order("image_index"),
  images_by_old_name: () => supabase.from("generated_carousel_images").select("id", { count: "exact", head: true }).eq("job_id", job),
  // the job log
  logs: () => supabase.from("image_generation_logs").select("*").eq("job_id", job).order("created_at", { ascending: true }).order("seq"),
  logs_after: () => supabase.from("image_generation_logs").select("seq,message").eq("job_id", job).gt("seq", 1).order("seq").limit(2),
  logs_bad: () => supabase.from("image_generation_logs").select("seq").eq("job_id", job).in("level", ["warning", "error"]).order("seq"),
  logs_of_step: () => supabase.from("image_generation_logs").select("seq").eq("job_id", job).eq("step", "upload"),
  logs_of_image: () => supabase.from("image_generation_logs").select("seq").eq("job_id", job).eq("details->>imageIndex", "1"),
  logs_with: () => supabase.from("image_generation_logs").select("seq,details->attempt").eq("job_id", job).contains("details", { attempt: 2 }),
  logs_without: () => supabase.from("image_generation_logs").select("seq").eq("job_id", job).is("details", null),
  logs_newest: () => supabase.from("image_generation_logs").select("seq").eq("job_id", job).order("seq", { ascending: false }).limit(1).maybeSingle(),
  // generations
  generations: () => supabase.from("generations").select("*").eq("user_id", user).order("created_at", { ascending: false }).range(0, 19),
  generation: () => supabase.from("generations").select("id,model_id,status,media_url:output_url,updated_at").eq("id", generation).maybeSingle(),
  generations_ended: () => supabase.from("generations").select("id,status").in("status", ["completed", "completed_partial"]).order("created_at"),
  generations_failed: () => supabase.from("generations").select("id,error_message:parameters->>error,why:parameters->errorContext->>type").or("status.eq.failed,status.eq.cancelled"),
  generations_not_done: () => supabase.from("generations").select("id").not("status", "in", "(completed,failed)"),
  failures: () => supabase.from("failed_generations_view").select("*").gte("created_at", new Date(0).toISOString()).order("created_at", { ascending: false }),
  // files
  files: () => supabase.from("file_metadata").select("*").eq("generation_id", job).order("file_path"),
  file: () => supabase.from("file_metadata").select("id,file_size,file_hash").eq("bucket_name", "public").eq("file_path", path).maybeSingle(),
  files_large: () => supabase.from("file_metadata").select("file_path", { count: "exact" }).gt("file_size", 199_999).limit(1),
  // credits
  credits: () => supabase.from("credit_transactions").select("*").order("created_at", { ascending: false }).limit(10),
  credits_used: () => supabase.from("credit_transactions").select("amount,metadata->>generation_id").eq("transaction_type", "usage").order("amount"),
  credits_returned: () => supabase.from("credit_transactions").select("amount,balance_after").eq("transaction_type", "refund"),
  // the logger, with its two examples
  logger_info: () => ImageGenerationLogger.info(job, user, "base_generation", "Starting image generation", { imageCount: 5 }),
  logger_error: () => ImageGenerationLogger.error(job, user, "upload", "Failed to upload image", { error: error.message, path: storagePath }),
  logger_warning: () => ImageGenerationLogger.warning(job, user, "cleanup", "Old files are left"),
  logger_success: () => ImageGenerationLogger.success(job, user, "completion", "Done", {}),
  lines: () => supabase.from("image_generation_logs").insert([line, { ...line, message: "another", details: { n: 1 } }]).select("seq,message"),
  line_without_answer: () => supabase.from("image_generation_logs").insert(line),
  // what nobody may
  line_in_another_name: () => supabase.from("image_generation_logs").insert({ ...line, user_id: stranger }),
  line_of_nobody: () => supabase.from("image_generation_logs").insert({ ...line, user_id: null }),
  line_with_seq: () => supabase.from("image_generation_logs").insert({ ...line, seq: 1 }),
  line_of_odd_level: () => supabase.from("image_generation_logs").insert({ ...line, level: "loud" }),
  line_of_odd_step: () => supabase.from("image_generation_logs").insert({ ...line, step: "cooking" }),
  line_of_unknown_job: () => supabase.from("image_generation_logs").insert({ ...line, job_id: stranger }),
  line_changed: () => supabase.from("image_generation_logs").update({ message: "x" }).eq("job_id", job),
  line_deleted: () => supabase.from("image_generation_logs").delete().eq("job_id", job),
  job_changed: () => supabase.from("image_generation_jobs").update({ name: "x" }).eq("id", job),
  job_added: () => supabase.from("image_generation_jobs").insert({ name: "x", user_id: user, prompt: "x" }),
  image_deleted: () => supabase.from("generated_images").delete().eq("job_id", job),
  credits_added: () => supabase.from("credit_transactions").insert({ user_id: user, amount: 1000, transaction_type: "bonus" }),
  file_moved: () => supabase.from("file_metadata").update({ file_path: "x" }).eq("generation_id", job),
  generation_changed: () => supabase.from("generations").update({ status: "completed" }).eq("id", runId),
};

const answers = {};
for (const [name, query] of Object.entries(QUERIES)) {
  const { data, error, count, status } = await query();
  answers[name] = { data, error, count, status };
}
console.log(JSON.stringify(answers));
